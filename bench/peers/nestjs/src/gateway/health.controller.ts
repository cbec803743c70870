import { Controller, Get } from '@nestjs/common';
import { Requests } from './requests.js';

@Controller('health')
export class HealthController {
  constructor(private readonly requests: Requests) {}

  /** 200 if both services and their databases answer. */
  @Get()
  async check() {
    const [users, payments] = await Promise.all([
      this.requests.send<boolean>('checkUsers', {}),
      this.requests.send<boolean>('checkPayments', {}),
    ]);
    return { users, payments };
  }
}
