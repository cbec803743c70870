import { Module } from '@nestjs/common';
import { JwtModule } from '@nestjs/jwt';
import { TypeOrmModule } from '@nestjs/typeorm';
import { databaseModule } from '../platform/database.js';
import { environment } from '../platform/environment.js';
import { User } from './user.entity.js';
import { UsersController } from './users.controller.js';
import { UsersService } from './users.service.js';

@Module({
  imports: [
    databaseModule(User),
    TypeOrmModule.forFeature([User]),
    JwtModule.register({ secret: environment('JWT_SECRET'), signOptions: { algorithm: 'HS256', expiresIn: '15m' } }),
  ],
  controllers: [UsersController],
  providers: [UsersService],
})
export class UsersModule {}
