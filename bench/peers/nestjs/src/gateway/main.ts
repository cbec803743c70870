import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { environment } from '../platform/environment.js';
import { GatewayModule } from './gateway.module.js';

const adapter = environment('HTTP_ADAPTER', 'fastify');
if (adapter !== 'fastify' && adapter !== 'express') {
  throw new Error('HTTP_ADAPTER is neither fastify nor express');
}
const app = await NestFactory.create(GatewayModule, adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter(), {
  logger: ['fatal', 'error'],
});
if (adapter === 'express') {
  // Fastify sends neither; an ETag costs a hash of each body.
  (app as NestExpressApplication).disable('x-powered-by').set('etag', false);
}
app.enableShutdownHooks();
await app.listen(Number(environment('PORT', '3000')), '127.0.0.1');
