import type { ServerHttp2Session } from 'node:http2'

export const windowLimits = {
  /** Of every stream, and of all streams of a connection together: HTTP/2 is bound by its windows, not by the processor. */
  bytes: 8 * 1024 * 1024,
} as const

const raised = new WeakSet<ServerHttp2Session>()

/** For whoever has shown that it may use the API: more bytes on the way at once, on this stream too. */
export function raiseWindows (session: ServerHttp2Session | undefined): void {
  if (session === undefined || session.destroyed || raised.has(session)) return
  raised.add(session)
  session.settings({ initialWindowSize: windowLimits.bytes })
  session.setLocalWindowSize(windowLimits.bytes)
}
