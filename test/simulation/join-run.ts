import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { seededRandom } from '../../src/base/random.ts'
import { verdictOf } from '../../src/cluster/index.ts'
import { setMember } from '../../src/node/membership/member-settings.ts'
import { logViolations } from './append-log.ts'
import { carryOut, type Recorded } from './layout-run.ts'
import { World, type WorldVariant, type WorldWeather } from './world.ts'

export interface JoinRun {
  /** What a promise was broken by; empty: kept. */
  readonly violations: readonly string[]
  readonly operations: number
  readonly told: number
  /** Joins that came to their end, and how often one was cut off before. */
  readonly joined: number
  readonly cutOff: number
  readonly removed: number
  readonly eras: number
  readonly layouts: number
  readonly messages: number
  readonly virtualMs: number
  readonly nodeMs: number
  readonly events: readonly string[]
  /** Of everything that happened and was told, in hexadecimal. */
  readonly digest: string
}

const names = ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace', 'heidi', 'ivan'] as const
/** Who may invite and put out; the first has the authority's key. */
const admins = ['bob', 'carol'] as const
const keys = ['a', 'b', 'c', 'd'] as const
/** After the last fault, until all must be as it should be: who could not be reached is dialled within half a minute, and greets every ten seconds. */
const calmMs = 300_000

function climateOf (seed: number): { readonly weather: WorldWeather, readonly founders: number } {
  const random = seededRandom(seed ^ 0x7015)
  return {
    founders: 3 + Math.floor(random.fraction() * 3),
    weather: { loss: random.fraction() < 0.5 ? 0 : random.fraction() * 0.1, duplicates: random.fraction() * 0.2, maxLatencyMs: 2 + random.fraction() * 60, stragglers: random.fraction() * 0.05, maxSyncMs: 1 + random.fraction() * 20 },
  }
}

/**
 * A small cluster that is joined by others all the time, while of those who are in it some are away, cut off, put out by the authority or by admins, and back by another invite; joins are cut off by the death of
 * who joins or of its sponsor, and tried again. Clients append and read meanwhile. Nobody knows of anybody but what the product tells. Then the faults cease: every join comes to its end, each member lets in each,
 * who was put out is let in by none, the layout has all members and settles, and what was acknowledged is read, with any one dead too.
 */
export async function simulateJoins ({ seed, minutes = 2, variant }: { readonly seed: number, readonly minutes?: number, readonly variant?: WorldVariant | undefined }): Promise<JoinRun> {
  const run = new Run(seed, { ...climateOf(seed), minutes, variant })
  const { world } = run
  let isOver = false
  const story = run.all().then(() => { isOver = true })
  await Promise.race([world.time.run(() => isOver || world.time.nowMs > minutes * 60_000 + 1_800_000), story])
  variant?.undo?.()
  if (!isOver) run.violations.push('it did not come to an end')
  const violations = [...world.violations, ...run.violations, ...keys.flatMap((key) => logViolations(run.history.filter((operation) => operation.key === key)).slice(0, 3).map((violation) => `row ${key}: ${violation}`))]
  const lines = [...world.events, ...run.history.map(({ what, startMs, endMs, key }) => `${startMs.toFixed(3)} ${endMs.toFixed(3)} ${key} ${what}`)]
  const count = (text: string): number => world.events.filter((line) => line.includes(text)).length
  return {
    violations, operations: run.history.length, told: run.history.filter(({ told }) => told !== undefined).length, joined: count(' has joined'), cutOff: count(' dies while it joins') + count(' dies over it'), removed: run.out.size,
    eras: count(': era '), layouts: count(': layout '), messages: world.messages, virtualMs: world.time.nowMs, nodeMs: world.nodeMs, events: lines, digest: hexOf(hash(utf8(lines.join('\n')))).slice(0, 32),
  }
}

interface Invite { readonly token: string, readonly by: string }

class Run {
  readonly world: World
  readonly history: Recorded[] = []
  readonly violations: string[] = []
  readonly out = new Set<string>()
  readonly #founders: readonly string[]
  readonly #minutes: number
  readonly #members: Set<string>
  readonly #joining = new Set<string>()
  #endMs = Infinity
  #back = 0

  constructor (seed: number, { weather, founders, minutes, variant }: ReturnType<typeof climateOf> & { readonly minutes: number, readonly variant: WorldVariant | undefined }) {
    this.#founders = names.slice(0, founders)
    this.#minutes = minutes
    this.#members = new Set(this.#founders)
    this.world = new World({ seed, names, founders, weather, variant, hasJoins: true, isBurying: true, admins: [...admins] })
  }

  async all (): Promise<void> {
    const { world } = this
    world.say(`${this.#founders.join()}; ${JSON.stringify(world.weather)}`)
    await world.begin(this.#founders.length)
    this.#endMs = world.time.nowMs + this.#minutes * 60_000
    await Promise.all([this.#trouble(), ...[0, 1].map(async (i) => this.#client(`c${i}`))])
    await this.#aftermath()
  }

  #isTrouble (): boolean { return this.world.time.nowMs < this.#endMs }
  #up (): readonly string[] { return [...this.#members].filter((name) => this.world.isAlive(name) && !this.out.has(name)) }
  /** Who may invite, and put out. */
  #may (): readonly string[] { return this.#up().filter((name) => name === names[0] || (admins as readonly string[]).includes(name)) }

  async #client (by: string): Promise<void> {
    const { world } = this
    for (let i = 0; this.#isTrouble(); i++) {
      await world.time.sleep(world.between(0, 3_000))
      const through = world.pick(this.#up())
      if (through !== undefined) await carryOut(world, { by, through, key: world.pick(keys), token: world.chance(0.4) ? undefined : `${by}${i}`, record: (operation) => { this.history.push(operation) } })
    }
  }

  async #trouble (): Promise<void> {
    const { world } = this
    while (this.#isTrouble()) {
      await world.time.sleep(world.between(300, 5_000))
      const target = world.pick([...this.#members].filter((name) => !this.out.has(name)))
      const kind = world.random.fraction()
      if (kind < 0.3) {
        const fresh = names.find((name) => !this.#members.has(name) && !this.#joining.has(name))
        if (fresh !== undefined) void this.#join(fresh)
      } else if (kind < 0.5) {
        // now and then for so long that others join meanwhile
        void this.#crash(target, world.chance(0.4) ? world.between(20_000, 80_000) : world.between(200, 8_000))
      } else if (kind < 0.7) {
        world.breakLinks(names, 25_000)
      } else if (kind < 0.8) {
        void this.#setsItsZone(target)
      } else if (kind < 0.9) {
        if (this.out.size < 2 && this.#members.size - this.out.size > 4 && target !== names[0]) void this.#putOut(target)
      } else {
        const gone = [...this.out].find((name) => !this.#joining.has(name) && this.#isOut.has(name))
        if (gone !== undefined && this.#back < 2) void this.#comesBack(gone)
      }
    }
  }

  /** As a person does it: by the same invite for as long as that is not refused and whoever made it is there, else by another. */
  async #join (name: string): Promise<void> {
    const { world } = this
    this.#joining.add(name)
    let invite: Invite | undefined
    for (let isDone = false; !isDone;) {
      await world.time.sleep(world.between(200, 3_000))
      const by = world.pick(this.#may())
      if (by === undefined) continue
      if (invite === undefined || this.out.has(invite.by)) invite = await this.#invitedBy(by)
      if (invite === undefined) continue
      if (this.#isTrouble() && world.chance(0.4)) void this.#cutsOff(name, invite.by)
      const failure = await world.isNode(name) ? undefined : await world.joinBy(name, invite.token).then(() => undefined, String)
      isDone = failure === undefined
      if (failure !== undefined) world.say(`${name} joins by ${invite.by}: ${failure}`)
      if (failure?.includes('ask for a new one') === true) invite = undefined
    }
    await world.start(name)
    this.out.delete(name)
    this.#isOut.delete(name)
    this.#members.add(name)
    this.#joining.delete(name)
  }

  async #invitedBy (by: string): Promise<Invite | undefined> {
    return this.world.invite(by).then((token) => ({ token, by }), (error: unknown) => { this.world.say(`${by} invites nobody: ${String(error)}`); return undefined })
  }

  async #cutsOff (name: string, sponsor: string): Promise<void> {
    const { world } = this
    const isSponsor = world.chance(0.4)
    await world.time.sleep(world.between(0, 200))
    if (isSponsor) {
      if (!world.isAlive(sponsor)) return
      world.say(`${sponsor} dies over it`)
      await this.#crash(sponsor, world.between(200, 15_000))
    } else if (!await world.isNode(name)) world.kill(name)
  }

  readonly #isOut = new Set<string>()
  /** Through whom each is put out now, and whether one of those died over it. */
  readonly #removing = new Map<string, string>()
  #hasDiedOverEra = false

  /** Once that was tried it may have been, and it is tried until it is. */
  async #putOut (name: string): Promise<void> {
    const { world } = this
    this.out.add(name)
    for (let isDone = false; !isDone;) {
      const through = world.pick(this.#may())
      if (through !== undefined) this.#removing.set(name, through)
      isDone = through !== undefined && await Promise.race([
        world.remove(name, through).finally(() => { this.#removing.delete(name) }).then(() => true, (error: unknown) => { world.say(`${name} is put out through ${through}: ${String(error)}`); return false }),
        world.time.sleep(60_000).then(() => false),
      ])
      if (isDone) world.say(`${name} is put out through ${through}`)
      else await world.time.sleep(3_000)
    }
    this.#isOut.add(name)
  }

  /** With an empty disk, and the keys that it had. */
  async #comesBack (name: string): Promise<void> {
    this.#back++
    this.#joining.add(name)
    this.world.wipe(name)
    await this.#join(name)
  }

  async #setsItsZone (name: string): Promise<void> {
    const { world } = this
    const process = world.process(name)
    if (process?.isAlive !== true) return
    const zone = `z${Math.floor(world.between(0, 3))}`
    await setMember({ state: process.state, registers: process.engine.registers, memberRows: process.memberRows }, world.peerOf(name), { zone }).then(() => { world.say(`${name} is in ${zone}`) }, () => {})
  }

  async #crash (name: string, downMs: number): Promise<void> {
    const { world } = this
    if (!world.isAlive(name)) return
    if ([...this.#removing.values()].includes(name)) this.#hasDiedOverEra = true
    world.kill(name)
    await world.time.sleep(downMs)
    if (!world.isAlive(name) && !this.#joining.has(name)) await world.start(name)
  }

  async #aftermath (): Promise<void> {
    const { world } = this
    world.cut([])
    Object.assign(world.weather, { loss: 0, duplicates: 0, stragglers: 0 })
    world.say('the faults have ceased')
    const untilMs = world.time.nowMs + calmMs
    let wrong: readonly string[] = ['']
    while (wrong.length > 0 && world.time.nowMs < untilMs) {
      await world.time.sleep(2_000)
      for (const name of this.#leftOut()) void this.#comesBack(name)
      wrong = this.#wrong()
    }
    world.say('it is over')
    this.violations.push(...wrong)
    if (wrong.length > 0) return
    for (const dead of [undefined, world.pick(this.#up())]) {
      if (dead !== undefined) { world.kill(dead); await world.time.sleep(1_000) }
      for (const key of keys) {
        let isTold = false
        for (let attempt = 0; attempt < 20 && !isTold; attempt++) {
          isTold = await carryOut(world, { by: 'last', through: world.pick(this.#up()), key, token: undefined, record: (operation) => { this.history.push(operation) } })
          if (!isTold) await world.time.sleep(1_000)
        }
        if (!isTold) this.violations.push(`row ${key} cannot be read${dead === undefined ? '' : ` with ${dead} dead`}`)
      }
    }
  }

  /** Who joined while an era began, and whoever made that died before it had found them: they are invited anew (docs/LIMITS.md). */
  #leftOut (): readonly string[] {
    const { world } = this
    if (!this.#hasDiedOverEra) return []
    const states = [...this.#members].filter((name) => !this.out.has(name) && !this.#joining.has(name)).flatMap((name) => ({ name, state: world.process(name)?.state }))
    const era = states.flatMap(({ state }) => state?.era ?? []).toSorted((a, b) => b.number - a.number)[0]
    return states.filter(({ state }) => state !== undefined && era !== undefined && !verdictOf(state.certificate, { clusterId: state.clusterId, authority: state.authority, era, memberRowHash: 'unchecked' }).isValid).map(({ name }) => name)
  }

  /** What is not as it should be. */
  #wrong (): readonly string[] {
    const { world } = this
    const wrong = [...this.#joining].map((name) => `${name} has not come to the end of its join`)
    const members = [...this.#members].filter((name) => !this.out.has(name))
    wrong.push(...[...this.out].filter((name) => !this.#isOut.has(name)).map((name) => `${name} could not be put out`))
    for (const name of members) if (!world.isAlive(name)) wrong.push(`${name} is down`)
    const apart = members.flatMap((a) => members.filter((b) => b > a && !world.isConnected(a, b)).map((b) => `${a} and ${b}`))
    if (apart.length > 0) wrong.push(`they do not let each other in: ${apart.join('; ')}`)
    for (const name of this.#isOut) for (const at of members) if (world.process(at)?.met?.admitted.has(world.peerOf(name)) === true) wrong.push(`${name} was put out, and ${at} lets it in`)
    const layouts = members.map((name) => world.process(name)?.state.layout)
    const isSettled = layouts.every((layout) => layout?.state === 'settled' && layout.version === layouts[0]?.version && layout.members.length === members.length && members.every((name) => layout.members.some(({ peerId }) => peerId === world.peerOf(name))))
    if (!isSettled) wrong.push(`the layout does not settle with all: ${members.map((name) => { const of = world.process(name); return `${name} ${of?.state.layout.version} ${of?.state.layout.state} ${of?.state.layout.members.length} ${of?.keeper.trouble ?? ''}` }).join('; ')}`)
    return wrong
  }
}
