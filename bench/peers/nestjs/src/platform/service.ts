import type { Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { natsTransport } from './nats.js';

/** Start a service that answers on NATS; `name` is its queue group. */
export async function startService(module: Type, name: string): Promise<void> {
  const app = await NestFactory.createMicroservice(module, { ...natsTransport(name), logger: ['fatal', 'error'] });
  app.enableShutdownHooks();
  await app.listen();
}
