/** Ctrl-C. */
export class Interrupted extends Error {
  override name = 'Interrupted'
  constructor () { super('interrupted') }
}

/** Aborts at the first Ctrl-C, so that a command ends in order; a second one ends the process at once. */
export function interruptSignal (): AbortSignal {
  const controller = new AbortController()
  process.once('SIGINT', () => { controller.abort(new Interrupted()) })
  return controller.signal
}
