import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { databaseModule } from '../platform/database.js';
import { isDurable } from '../platform/environment.js';
import { natsClientModule } from '../platform/nats.js';
import { Payment } from './payment.entity.js';
import { PaymentsConsumer } from './payments.consumer.js';
import { PaymentsController } from './payments.controller.js';
import { PaymentsService } from './payments.service.js';

@Module({
  imports: [databaseModule(Payment), TypeOrmModule.forFeature([Payment]), natsClientModule()],
  controllers: [PaymentsController],
  providers: isDurable() ? [PaymentsService, PaymentsConsumer] : [PaymentsService],
})
export class PaymentsModule {}
