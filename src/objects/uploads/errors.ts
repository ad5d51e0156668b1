import { Conflict, InvalidInput, NotFound } from '../../base/errors.ts'

/** Never begun, aborted, given up after seven days in which nothing came, or completed and since replaced. */
export class NoSuchUpload extends NotFound {
  override name = 'NoSuchUpload'
  constructor () { super('there is no such upload: it was completed, aborted, or given up after seven days without a part') }
}

/** A part that is named does not exist, or is not the one that was put. */
export class WrongPart extends InvalidInput {
  override name = 'WrongPart'
  readonly partNumber: number
  constructor (partNumber: number, message: string) { super('parts', message); this.partNumber = partNumber }
}

/** Parts are named once each, in ascending order. */
export class WrongPartOrder extends InvalidInput {
  override name = 'WrongPartOrder'
  constructor (message: string) { super('parts', message) }
}

/** A part that others follow is shorter than the least that is allowed. */
export class PartTooSmall extends InvalidInput {
  override name = 'PartTooSmall'
  readonly partNumber: number
  readonly sizeBytes: number
  readonly leastBytes: number
  constructor ({ partNumber, sizeBytes, leastBytes }: { partNumber: number, sizeBytes: number, leastBytes: number }) {
    super('parts', `part ${partNumber} has ${sizeBytes} bytes; only the last may have fewer than ${leastBytes}`)
    this.partNumber = partNumber
    this.sizeBytes = sizeBytes
    this.leastBytes = leastBytes
  }
}

/** More came already, or less: go on from `offset`. */
export class WrongOffset extends Conflict {
  override name = 'WrongOffset'
  /** Where the upload goes on. */
  readonly offset: number
  constructor (offset: number) { super(`the upload has ${offset} bytes and goes on from there`); this.offset = offset }
}
