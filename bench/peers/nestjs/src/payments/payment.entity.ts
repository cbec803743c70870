import { Column, Entity, PrimaryColumn } from 'typeorm';

@Entity('payments')
export class Payment {
  /** UUIDv7: ordered by time, so the primary key also serves the pages. */
  @PrimaryColumn('uuid')
  id: string;

  @Column('uuid', { name: 'user_id' })
  userId: string;

  @Column('bigint', { transformer: { to: (value: number) => value, from: Number } })
  amount: number;

  @Column('text')
  currency: string;

  @Column('jsonb')
  metadata: Record<string, string>;

  @Column('text')
  status: string;

  @Column('timestamptz', { name: 'created_at' })
  createdAt: string;
}
