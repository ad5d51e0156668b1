/** The node answered no. `code` is one of base/errors.ts, or 'internal'. */
export class ClientError extends Error {
  override name = 'ClientError'
  readonly status: number
  readonly code: string
  readonly field: string | undefined
  constructor ({ status, code, message, field }: { status: number, code: string, message: string, field?: string }) {
    super(message)
    this.status = status
    this.code = code
    this.field = field
  }
}

/** Nothing answers that could be this folder's node. Start it. */
export class NoRunningNode extends Error {
  override name = 'NoRunningNode'
}
