import type { PeerId } from '../../src/base/peer-id.ts'
import { type Message, SimulatedCluster, type Variant, type Weather } from './cluster.ts'
import type { HeldMessages } from './held-messages.ts'
import { isLinearizable } from './linearizable.ts'
import { type Action, addressOf, append, carryOut, erase, read, type Recorded, write } from './register-actions.ts'

/**
 * What goes wrong without a rule, told message by message. Bad weather comes upon these too, but some of them in one run of a thousand, and any change of
 * the product's timing moves them; told, they happen in every run. Three nodes; a question that is held back never arrives unless it is released.
 */
export const histories = {
  'rule 1: answers before it is on disk': async ({ a, b, c, does, hold, restart }) => {
    hold(to(b, 'accept'))
    await does(c, append('v'))
    await restart(a)
    // b never heard of it, and a has forgotten
    hold(touching(c))
    await does(a, read)
  },

  'rule 1: an accept does not raise the promise': async ({ a, b, c, does, hold, untilHeld, release }) => {
    hold(from(c, 'accept'))
    const appended = does(c, append('v'))
    await untilHeld(from(c, 'accept'))
    // b finds it with c, and goes on from there; a hears of that in the accept alone
    hold((message) => to(a, 'prepare')(message) || (from(b, 'accept')(message) && message.to === c))
    await does(b, append('w'))
    // c's old accept takes the newer value's place at a
    hold(between(b, c))
    release(from(c, 'accept'))
    await appended
    await does(c, read)
  },

  'rule 1: ballot counters begin again after a restart, and are promised again': async ({ a, b, c, does, hold, untilHeld, release, restart }) => {
    hold(from(a, 'accept'))
    void does(a, append('v'))
    await untilHeld(from(a, 'accept'))
    release(to(b))
    await restart(a)
    // the same ballot, for another value, where b cannot object
    hold(touching(b))
    await does(a, append('w'))
    hold(touching(c))
    await does(b, read)
  },

  'rule 2: equal values count as agreement': async ({ a, b, c, does, hold, untilHeld }) => {
    await does(a, write('v'))
    await does(b, read)
    hold(to(b))
    await does(c, write('w'))
    // the same value again, under a new ballot that nobody but a accepts, while b still has the old one
    hold(from(a, 'accept'))
    void does(a, write('v'))
    await untilHeld(from(a, 'accept'))
    hold(between(a, c))
    await does(a, read)
    hold(touching(a))
    await does(c, read)
  },

  'rule 2: the highest value is believed without being delivered': async ({ a, c, does, hold, untilHeld }) => {
    hold(from(a, 'accept'))
    void does(a, write('v'))
    await untilHeld(from(a, 'accept'))
    hold(touching(c))
    await does(a, read)
    hold(touching(a))
    await does(c, read)
  },

  'rule 4: late delivery ignores the promise': async ({ a, b, c, does, hold, untilHeld, release }) => {
    hold(from(c, 'accept'))
    void does(c, append('v'))
    await untilHeld(from(c, 'accept'))
    // b has a's promise, and learns nothing of it
    hold((message) => between(b, c)(message) || from(b, 'accept')(message))
    const appended = does(b, append('w'))
    await untilHeld(from(b, 'accept'))
    // c's reader hands over to a what a had promised not to take any more
    await does(c, read)
    hold(between(b, c))
    release((message) => from(b, 'accept')(message) && message.to === a)
    await appended
  },

  'rule 3: a row that begins anew counts as the one before': async ({ a, b, c, does, hold, untilHeld, release, bury }) => {
    hold(from(c, 'accept'))
    const appended = does(c, append('v'))
    await untilHeld(from(c, 'accept'))
    // a finds it with c, and deletes it; then it is buried, and the writer sees an absent row as before its first attempt
    hold((message) => from(c)(message) || between(a, b)(message))
    await does(a, erase)
    release((message) => from(a, 'accept')(message) && message.to === b)
    hold(from(c))
    await bury(a)
    hold(() => false)
    await appended
    await does(a, read)
  },

  'rule 5: an absent row is not promised at the floor': async ({ a, b, c, does, hold, release, rest, bury }) => {
    hold((message) => from(c, 'accept')(message) && message.to === b)
    await does(c, write('v'))
    hold(() => false)
    await does(a, erase)
    await bury(a)
    // what was written before the end of it
    release(from(c, 'accept'))
    await rest()
    hold(touching(c))
    await does(a, read)
    await does(b, read)
  },

  'rule 5: floors are not on disk': async ({ a, b, c, does, hold, release, rest, bury, restart }) => {
    hold((message) => from(c, 'accept')(message) && message.to === b)
    await does(c, write('v'))
    hold(() => false)
    await does(a, erase)
    await bury(a)
    await restart(b)
    release(from(c, 'accept'))
    await rest()
    hold(touching(c))
    await does(a, read)
    await does(b, read)
  },
} as const satisfies Readonly<Record<string, History>>

export type History = (stage: Stage) => Promise<void>

interface Stage {
  readonly a: PeerId
  readonly b: PeerId
  readonly c: PeerId
  /** A client of this node asks for it. Resolves when that one is answered, or gives up. */
  readonly does: (node: PeerId, action: Action) => Promise<void>
  readonly hold: HeldMessages<Message>['hold']
  readonly release: HeldMessages<Message>['release']
  /** Until the questions to both other nodes are held back. */
  readonly untilHeld: (isMeant: (message: Message) => boolean) => Promise<void>
  readonly restart: (node: PeerId) => Promise<void>
  /** Until what was sent on has arrived. */
  readonly rest: () => Promise<void>
  /** Until no row is left. */
  readonly bury: (node: PeerId) => Promise<void>
}

type Kind = Message['kind']
const from = (node: PeerId, kind?: Kind) => (message: Message): boolean => message.from === node && (kind === undefined || message.kind === kind)
const to = (node: PeerId, kind?: Kind) => (message: Message): boolean => message.to === node && (kind === undefined || message.kind === kind)
const touching = (node: PeerId) => (message: Message): boolean => message.from === node || message.to === node
const between = (one: PeerId, other: PeerId) => (message: Message): boolean => touching(one)(message) && touching(other)(message)

// background work would tidy up between two lines of a history: it takes its turn after all of them
const calm: Weather = { replicas: 3, keys: 1, isMonotonous: false, crashes: false, splits: false, loss: 0, duplicates: 0, maxLatencyMs: 1, stragglers: 0, maxPauseMs: 0, maxRestMs: 1e9 }

/** What the clients were told in the end, when nothing is held back any more, and whether a register could have said so. The seed moves the latencies. */
export async function simulateHistory ({ seed, history, variant }: { seed: number, history: History, variant?: Variant }): Promise<{ isViolated: boolean, history: readonly Recorded[] }> {
  const key = 'row'
  const cluster = new SimulatedCluster({ seed, weather: calm, variant, addresses: [addressOf(key)], describe: () => undefined })
  const recorded: Recorded[] = []
  const clients: Array<Promise<void>> = []
  const [a, b, c] = cluster.peers as [PeerId, PeerId, PeerId]
  const nameOf = (peer: PeerId): string => 'abc'[cluster.peers.indexOf(peer)] as string
  const done = history({
    a, b, c,
    async does (peer, action) {
      // what begins in the very moment in which something ends would pass for concurrent with it
      await cluster.time.sleep(0.1)
      const told = carryOut(cluster, { name: nameOf(peer), peer, key, action, record: (operation) => { recorded.push(operation) } }).then(() => {})
      clients.push(told)
      await told
    },
    hold: (isHeld) => { cluster.questions.hold(isHeld) },
    release: (isReleased) => { cluster.questions.release(isReleased) },
    async untilHeld (isMeant) { while (cluster.questions.count(isMeant) < 2) await cluster.time.sleep(1) },
    restart: async (peer) => { await cluster.restart(peer, 1) },
    rest: async () => { await cluster.time.sleep(10) },
    bury: async (peer) => { await cluster.bury(peer) },
  })
  let isOver = false
  const end = done.then(async () => {
    cluster.questions.hold(() => false)
    cluster.questions.release(() => true)
    await Promise.all(clients)
  }).finally(() => { isOver = true })
  await cluster.time.run(() => isOver || cluster.time.nowMs > 10_000)
  if (!isOver) throw new Error('the history does not come to its end')
  await end
  return { isViolated: !isLinearizable(recorded, undefined), history: recorded }
}
