import { Body, Controller, Get, HttpCode, NotFoundException, Param, ParseUUIDPipe, Post, Query } from '@nestjs/common';
import { v7 as uuid7 } from 'uuid';
import { CreatePaymentDto, ListPaymentsDto } from './payments.dto.js';
import { PaymentsPublisher } from './payments.publisher.js';
import { Requests } from './requests.js';
import { validBody } from './validation.js';

@Controller('payments')
export class PaymentsController {
  constructor(
    private readonly requests: Requests,
    private readonly publisher: PaymentsPublisher,
  ) {}

  @Post()
  @HttpCode(202)
  async create(@Body(validBody) { userId, amount, currency, metadata = {} }: CreatePaymentDto) {
    const payment = { id: uuid7(), userId, amount, currency, metadata, createdAt: new Date().toISOString() };
    await this.publisher.publish(payment);
    return { ...payment, status: 'pending' };
  }

  @Get(':id')
  async getById(@Param('id', ParseUUIDPipe) id: string) {
    const payment = await this.requests.send<object | null>('getPaymentById', id);
    if (payment === null) {
      throw new NotFoundException();
    }
    return payment;
  }

  @Get()
  list(@Query(validBody) { limit, cursor }: ListPaymentsDto) {
    return this.requests.send('listPayments', { limit, cursor });
  }
}
