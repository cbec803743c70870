import 'reflect-metadata';
import { startService } from '../platform/service.js';
import { UsersModule } from './users.module.js';

await startService(UsersModule, 'users');
