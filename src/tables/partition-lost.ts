import { Corrupt } from '../base/errors.ts'

/** This store cannot prove that it remembers all of a partition, so it neither answers nor votes for it. Ask another replica; hand the partition over afresh. */
export class PartitionLost extends Corrupt {
  override name = 'PartitionLost'
  readonly partition: number
  constructor (partition: number, options?: ErrorOptions) { super(`the memory of partition ${partition} is not proven whole`, options); this.partition = partition }
}
