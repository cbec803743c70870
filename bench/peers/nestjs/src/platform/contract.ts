/** A payment as the gateway sends it to the payments service. */
export interface CreatePayment {
  id: string;
  userId: string;
  amount: number;
  currency: string;
  metadata: Record<string, string>;
  createdAt: string;
}

export interface ListPayments {
  limit: number;
  cursor?: string;
}

export interface Credentials {
  email: string;
  password: string;
}

export interface CreateUser extends Credentials {
  name?: string;
}
