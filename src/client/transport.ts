/** How requests go: by `fetch` in browsers, by node:http in Node, which has back-pressure on uploads and hears a refusal while it still sends. */
export interface Transport {
  /** Resolves when the head of the answer is there. @throws Unreachable; what the body threw; the signal's reason */
  send (request: Outgoing): Promise<Answer>
  close (): void
}

export interface Outgoing {
  readonly method: string
  /** From the root, percent-encoded, with its query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Body
  readonly signal?: AbortSignal
}

/** What can be sent. Of an iterable each piece is asked for when the one before has gone. */
export type Body = Uint8Array | string | Blob | AsyncIterable<Uint8Array>

export interface Answer {
  readonly status: number
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** A body that ends early throws. */
  readonly body: AsyncIterable<Uint8Array>
}
