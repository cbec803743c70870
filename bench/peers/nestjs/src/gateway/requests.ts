import { HttpException, Inject, Injectable, ServiceUnavailableException } from '@nestjs/common';
import { ClientProxy } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { NATS_CLIENT } from '../platform/nats.js';

/** Sends requests to the services and turns their refusals into HTTP errors. */
@Injectable()
export class Requests {
  constructor(@Inject(NATS_CLIENT) private readonly nats: ClientProxy) {}

  async send<Reply>(cmd: string, data: unknown): Promise<Reply> {
    try {
      return await firstValueFrom(this.nats.send<Reply>({ cmd }, data));
    } catch (error) {
      const { status, message } = error as { status?: unknown; message: string };
      throw typeof status === 'number' ? new HttpException(message, status) : new ServiceUnavailableException();
    }
  }
}
