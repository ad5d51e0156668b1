import { StoreFull } from '../base/errors.ts'
import { StoreReadOnly } from '../blockstore/index.ts'

/** Whether a row store takes saves. Its journal and its index may each find the disk full or failing, and what follows is not the same. */
export class RowStoreHealth {
  /** What the disk has of this store is not known any more: for good. */
  failure: StoreReadOnly | undefined
  /** The index found the disk full: it may lack what the journal has, and what it lacks proves nothing. */
  behind: StoreFull | undefined
  /** The journal found the disk full, the last time it was written to. */
  full: StoreFull | undefined

  get readOnlyReason (): string | undefined { return (this.failure ?? this.behind ?? this.full)?.message }

  /** A full disk may have room again. Anything else is for good. */
  failedBy (error: unknown): unknown {
    if (error instanceof StoreFull) return error
    return this.failure ??= readOnly('the disk failed', error)
  }

  journalFailedBy (cause: unknown): unknown {
    return cause instanceof StoreFull ? this.full = new StoreFull(diskFull, { cause }) : this.failedBy(cause)
  }

  indexFailedBy (cause: unknown): StoreFull | StoreReadOnly {
    if (cause instanceof StoreFull) return this.behind ??= new StoreFull(diskFull, { cause })
    return this.failure ??= readOnly('its index took no write', cause)
  }
}

const diskFull = 'the row store takes no writes: the disk is full. It goes on when there is room'
const readOnly = (what: string, cause: unknown): StoreReadOnly => new StoreReadOnly(`the row store takes no writes: ${what}. Check the disk, then start the node again`, { cause })
