import { readFileSync } from 'node:fs';
import {
  AckPolicy,
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  jetstreamManager,
  type JetStreamManager,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';

/** The settings of the store's own stream; a test compares this file with `contracts/streams.py`. */
const settings = JSON.parse(readFileSync(new URL('../../payment-commands.json', import.meta.url), 'utf8'));

export const STREAM: string = settings.name;
export const CONSUMER = 'payments';
export const SUBJECT_PREFIX = 'payments.create.';
const NANOSECONDS = 1_000_000_000;

/** Create the work queue of payments if it does not exist; return the manager. */
export async function ensureStream(connection: NatsConnection): Promise<JetStreamManager> {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    name: STREAM,
    subjects: [`${SUBJECT_PREFIX}*`],
    retention: settings.retention === 'workqueue' ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    discard: settings.discard === 'new' ? DiscardPolicy.New : DiscardPolicy.Old,
    storage: StorageType.File,
    num_replicas: 1,
    allow_direct: true,
    allow_atomic: true,
    duplicate_window: settings.duplicateWindowSeconds * NANOSECONDS,
    max_bytes: settings.maxBytes,
    max_msg_size: settings.maxMessageBytes,
  });
  return manager;
}

/** Create the durable pull consumer of the payments service if it does not exist. */
export async function ensureConsumer(manager: JetStreamManager): Promise<void> {
  await manager.consumers.add(STREAM, {
    durable_name: CONSUMER,
    ack_policy: AckPolicy.Explicit,
    ack_wait: 30 * NANOSECONDS,
    max_ack_pending: 4_000,
  });
}
