import { ValidationPipe } from '@nestjs/common';

/** Validates bodies and queries where a route has them: a global pipe would also run for each id of a path. */
export const validBody = new ValidationPipe({ transform: true, whitelist: true });
