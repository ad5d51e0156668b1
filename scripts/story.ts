/** What a demonstration did, told to a person as it happens, or to a program as JSON. */
export class Story {
  readonly #isJson: boolean
  readonly steps: Array<{ readonly step: string, readonly seconds: number, readonly mibPerSecond?: number, readonly [fact: string]: unknown }> = []

  constructor ({ isJson }: { isJson: boolean }) { this.#isJson = isJson }

  get isJson (): boolean { return this.#isJson }

  say (text: string): void { if (!this.#isJson) console.log(text) }
  object (value: object): void { if (this.#isJson) console.log(JSON.stringify(value)) }

  /** Runs a step and keeps its facts; those that `act` gives stand before what is measured here. */
  async tell<T extends object> (step: string, act: () => Promise<T>): Promise<T> {
    const start = performance.now()
    const facts = await act()
    this.steps.push({ step, seconds: Math.round(performance.now() - start) / 1000, ...facts })
    return facts
  }

  /** The result of what did not come to its end. */
  fail (reason: string): void {
    this.object({ event: 'result', ok: false, reason, steps: this.steps })
    console.error(this.#isJson ? reason : `\n${reason}`)
  }
}
