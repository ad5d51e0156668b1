import type { ServerHttp2Session } from 'node:http2'

export const windowLimits = {
  /** Of all streams of a connection together: HTTP/2 is bound by its windows, not by the processor. Node counts what has come as taken at once, read or not, so this bounds no memory. */
  bytes: 8 * 1024 * 1024,
  /** Of every stream: so much stands in memory of each that is not read, a put that waits for its turn or whose reader waits for a disk. */
  streamBytes: 1024 * 1024,
} as const

const raised = new WeakSet<ServerHttp2Session>()

/** For whoever has shown that it may use the API: more bytes on the way at once, on this stream too. */
export function raiseWindows (session: ServerHttp2Session | undefined): void {
  if (session === undefined || session.destroyed || raised.has(session)) return
  raised.add(session)
  session.settings({ initialWindowSize: windowLimits.streamBytes })
  session.setLocalWindowSize(windowLimits.bytes)
}
