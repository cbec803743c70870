import 'reflect-metadata';
import { startService } from '../platform/service.js';
import { PaymentsModule } from './payments.module.js';

await startService(PaymentsModule, 'payments');
