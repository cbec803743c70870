import { Controller } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import type { CreateUser, Credentials } from '../platform/contract.js';
import { UsersService } from './users.service.js';

@Controller()
export class UsersController {
  constructor(private readonly users: UsersService) {}

  @MessagePattern({ cmd: 'getUserById' })
  getById(@Payload() id: string) {
    return this.users.getById(id);
  }

  @MessagePattern({ cmd: 'createUser' })
  create(@Payload() user: CreateUser) {
    return this.users.create(user);
  }

  @MessagePattern({ cmd: 'login' })
  login(@Payload() credentials: Credentials) {
    return this.users.login(credentials);
  }

  @MessagePattern({ cmd: 'checkUsers' })
  check() {
    return this.users.check();
  }
}
