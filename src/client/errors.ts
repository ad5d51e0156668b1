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

/** The node could not be reached, or the connection broke before its answer was whole. Of a write it is unknown whether it happened. */
export class Unreachable extends Error {
  override name = 'Unreachable'
}

export interface Reason { readonly code?: string, readonly message?: string, readonly field?: string }

export const clientErrorOf = (status: number, { code = 'internal', message = `the node answered ${status}`, field }: Reason = {}): ClientError =>
  new ClientError({ status, code, message, field })
