import { Injectable } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import { RpcException } from '@nestjs/microservices';
import { InjectRepository } from '@nestjs/typeorm';
import { hash, verify } from '@node-rs/argon2';
import { QueryFailedError, Repository } from 'typeorm';
import { v7 as uuid7 } from 'uuid';
import type { CreateUser, Credentials } from '../platform/contract.js';
import { User } from './user.entity.js';

/** The parameters of the store's users service (argon2id, OWASP's minimum). */
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
const UNIQUE_VIOLATION = '23505';

@Injectable()
export class UsersService {
  constructor(
    @InjectRepository(User) private readonly users: Repository<User>,
    private readonly jwt: JwtService,
  ) {}

  getById(id: string): Promise<User | null> {
    return this.users.findOneBy({ id });
  }

  async create({ email, password, name }: CreateUser): Promise<Omit<User, 'passwordHash'>> {
    const passwordHash = await hash(password.normalize('NFKC'), ARGON2);
    const user = this.users.create({ id: uuid7(), email: email.toLowerCase(), name: name ?? null, passwordHash });
    try {
      await this.users.insert(user);
    } catch (error) {
      if (error instanceof QueryFailedError && error.driverError.code === UNIQUE_VIOLATION) {
        throw new RpcException({ status: 409, message: 'The email address is taken.' });
      }
      throw error;
    }
    const { passwordHash: _, ...view } = user;
    return view;
  }

  async login({ email, password }: Credentials): Promise<{ accessToken: string }> {
    const user = await this.users.findOne({
      where: { email: email.toLowerCase() },
      select: { id: true, role: true, passwordHash: true },
    });
    if (user === null || !(await verify(user.passwordHash, password.normalize('NFKC')))) {
      throw new RpcException({ status: 401, message: 'The email address or the password is wrong.' });
    }
    return { accessToken: await this.jwt.signAsync({ sub: user.id, role: user.role }) };
  }

  async check(): Promise<boolean> {
    await this.users.query('SELECT 1');
    return true;
  }
}
