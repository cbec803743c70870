import { Module } from '@nestjs/common';
import { natsClientModule } from '../platform/nats.js';
import { HealthController } from './health.controller.js';
import { PaymentsController } from './payments.controller.js';
import { paymentsPublisher } from './payments.publisher.js';
import { Requests } from './requests.js';
import { UsersController } from './users.controller.js';

@Module({
  imports: [natsClientModule()],
  controllers: [HealthController, PaymentsController, UsersController],
  providers: [Requests, paymentsPublisher],
})
export class GatewayModule {}
