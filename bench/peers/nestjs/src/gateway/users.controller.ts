import { Body, Controller, Get, HttpCode, NotFoundException, Param, ParseUUIDPipe, Post } from '@nestjs/common';
import { Requests } from './requests.js';
import { CreateUserDto, LoginDto } from './users.dto.js';
import { validBody } from './validation.js';

@Controller()
export class UsersController {
  constructor(private readonly requests: Requests) {}

  @Get('users/:id')
  async getById(@Param('id', ParseUUIDPipe) id: string) {
    const user = await this.requests.send<object | null>('getUserById', id);
    if (user === null) {
      throw new NotFoundException();
    }
    return user;
  }

  @Post('users')
  create(@Body(validBody) user: CreateUserDto) {
    return this.requests.send('createUser', user);
  }

  @Post('auth/login')
  @HttpCode(200)
  login(@Body(validBody) credentials: LoginDto) {
    return this.requests.send('login', credentials);
  }
}
