import { TypeOrmModule } from '@nestjs/typeorm';
import { environment } from './environment.js';

/** Return the module of a service's PostgreSQL database; tables are created at start. */
export function databaseModule(...entities: Function[]) {
  const url = new URL(environment('DATABASE_URL'));
  return TypeOrmModule.forRoot({
    type: 'postgres',
    host: url.hostname,
    port: Number(url.port || 5432),
    username: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: url.pathname.slice(1),
    entities,
    synchronize: true,
    logging: false,
    poolSize: 10,
  });
}
