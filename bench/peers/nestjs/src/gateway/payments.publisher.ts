import {
  Inject,
  Injectable,
  ServiceUnavailableException,
  type OnApplicationBootstrap,
  type Provider,
} from '@nestjs/common';
import { ClientNats, ClientProxy } from '@nestjs/microservices';
import { jetstream, type JetStreamClient } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { CreatePayment } from '../platform/contract.js';
import { isDurable } from '../platform/environment.js';
import { NATS_CLIENT } from '../platform/nats.js';
import { SUBJECT_PREFIX, ensureStream } from '../platform/payment-commands.js';

/** Hands a payment to the payments service. */
export abstract class PaymentsPublisher {
  abstract publish(payment: CreatePayment): Promise<void> | void;
}

/** Publishes an event and waits for nothing, as the original does. */
@Injectable()
class FireAndForget extends PaymentsPublisher {
  constructor(@Inject(NATS_CLIENT) private readonly nats: ClientProxy) {
    super();
  }

  publish(payment: CreatePayment): void {
    this.nats.emit('createPayment', payment);
  }
}

/** Publishes to JetStream and waits until the server has stored the payment. */
@Injectable()
class Durable extends PaymentsPublisher implements OnApplicationBootstrap {
  private stream: JetStreamClient;

  constructor(@Inject(NATS_CLIENT) private readonly nats: ClientNats) {
    super();
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.nats.connect();
    const connection = this.nats.unwrap<NatsConnection>();
    await ensureStream(connection);
    this.stream = jetstream(connection);
  }

  async publish(payment: CreatePayment): Promise<void> {
    try {
      await this.stream.publish(SUBJECT_PREFIX + payment.id, JSON.stringify(payment));
    } catch {
      throw new ServiceUnavailableException();
    }
  }
}

export const paymentsPublisher: Provider = {
  provide: PaymentsPublisher,
  useClass: isDurable() ? Durable : FireAndForget,
};
