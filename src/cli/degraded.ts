/** What was asked has been shown, and it is not all well: a script must be able to tell. */
export class Degraded extends Error {
  override name = 'Degraded'
}
