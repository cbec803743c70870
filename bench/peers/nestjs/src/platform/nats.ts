import { ClientsModule, Transport, type NatsOptions } from '@nestjs/microservices';
import { environment } from './environment.js';

/** Injection token of the client that sends requests and emits events. */
export const NATS_CLIENT = Symbol('NATS_CLIENT');

/** Return the options of the NATS transport; `queue` is the queue group of a service. */
export function natsTransport(queue?: string): NatsOptions {
  // The client ignores a login inside the address.
  const url = new URL(environment('NATS_URL'));
  return {
    transport: Transport.NATS,
    options: {
      servers: [url.host],
      user: decodeURIComponent(url.username) || undefined,
      pass: decodeURIComponent(url.password) || undefined,
      maxReconnectAttempts: -1,
      queue,
    },
  };
}

export const natsClientModule = () => ClientsModule.register([{ name: NATS_CLIENT, ...natsTransport() }]);
