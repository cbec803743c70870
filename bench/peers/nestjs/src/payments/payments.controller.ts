import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import type { CreatePayment, ListPayments } from '../platform/contract.js';
import { PaymentsService } from './payments.service.js';

@Controller()
export class PaymentsController {
  constructor(private readonly payments: PaymentsService) {}

  @EventPattern('createPayment')
  create(@Payload() payment: CreatePayment) {
    return this.payments.create(payment);
  }

  @MessagePattern({ cmd: 'getPaymentById' })
  getById(@Payload() id: string) {
    return this.payments.getById(id);
  }

  @MessagePattern({ cmd: 'listPayments' })
  list(@Payload() request: ListPayments) {
    return this.payments.list(request);
  }

  @MessagePattern({ cmd: 'checkPayments' })
  check() {
    return this.payments.check();
  }
}
