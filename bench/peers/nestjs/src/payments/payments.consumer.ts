import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { ClientNats } from '@nestjs/microservices';
import { jetstream, type ConsumerMessages, type JsMsg } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { CreatePayment } from '../platform/contract.js';
import { NATS_CLIENT } from '../platform/nats.js';
import { CONSUMER, STREAM, ensureConsumer, ensureStream } from '../platform/payment-commands.js';
import { PaymentsService } from './payments.service.js';

const PREFETCH = 2_000;
const BATCH_SIZE = 500;
const RETRY_DELAY_MS = 1_000;

/** Records what arrives on the work queue. While one batch is inserted, the next one gathers. */
@Injectable()
export class PaymentsConsumer implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(PaymentsConsumer.name);
  private readonly waiting: JsMsg[] = [];
  private recording = false;
  private messages: ConsumerMessages;

  constructor(
    @Inject(NATS_CLIENT) private readonly nats: ClientNats,
    private readonly payments: PaymentsService,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.nats.connect();
    const connection = this.nats.unwrap<NatsConnection>();
    await ensureConsumer(await ensureStream(connection));
    const consumer = await jetstream(connection).consumers.get(STREAM, CONSUMER);
    this.messages = await consumer.consume({
      max_messages: PREFETCH,
      callback: (message) => {
        this.waiting.push(message);
        void this.record();
      },
    });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.messages?.close();
  }

  private async record(): Promise<void> {
    if (this.recording) {
      return;
    }
    this.recording = true;
    try {
      while (this.waiting.length > 0) {
        await this.recordBatch(this.waiting.splice(0, BATCH_SIZE));
      }
    } finally {
      this.recording = false;
    }
  }

  /** Acknowledge what is recorded. If a batch fails, each payment is tried alone, and a failing one is redelivered. */
  private async recordBatch(batch: JsMsg[]): Promise<void> {
    try {
      await this.payments.createMany(batch.map((message) => message.json<CreatePayment>()));
    } catch (error) {
      this.logger.error(error);
      if (batch.length === 1) {
        batch[0].nak(RETRY_DELAY_MS);
        return;
      }
      for (const message of batch) {
        await this.recordBatch([message]);
      }
      return;
    }
    for (const message of batch) {
      message.ack();
    }
  }
}
