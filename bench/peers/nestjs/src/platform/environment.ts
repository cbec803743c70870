/** Return an environment variable, or `fallback`; without either the process cannot start. */
export function environment(name: string, fallback?: string): string {
  const value = process.env[name] ?? fallback;
  if (value === undefined) {
    throw new Error(`${name} is not set`);
  }
  return value;
}

/** Whether payments travel through JetStream (`DURABLE=true`) or core NATS. */
export const isDurable = (): boolean => environment('DURABLE', 'false') === 'true';
