import { declaredBy, recovering } from '../../src/cluster/recovery.ts'
import { keyNamed } from '../support/cluster-identities.ts'
import type { LayoutHistory, Stage } from './layout-histories.ts'
import type { Process, TableMessage } from './world.ts'

export interface LossHistory {
  /** Those that hold everything when it begins. */
  readonly old: readonly string[]
  readonly fresh: readonly string[]
  /** Hold blocks, and neither rows nor keys. */
  readonly storage?: readonly string[]
  readonly admins?: readonly string[]
  readonly told: LayoutHistory
}

const seven = ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace']

/**
 * What goes wrong without a rule of what is declared when a majority is gone for good, told step by step: in each a survivor alone knows of the last that was
 * acknowledged, and is gone too as soon as the rule says that the others know as much.
 */
export const lossHistories = {
  'of those that are left a majority decides, and is taken over from': {
    old: seven, fresh: [],
    async told (stage) {
      const { world, does, settled, ends } = stage
      const [writer = '', , deaf = '', deafToo = '', knows = ''] = replicasOf(stage)
      const left = [deaf, deafToo, knows]
      world.questions.hold(isNews({ to: [deaf, deafToo] }))
      await does(writer, 'late')
      await givenUp(stage, { lost: seven.filter((name) => !left.includes(name)), through: deaf })
      await settled(left)
      await ends([knows])
      await isRead(stage, deaf)
    },
  },

  'those that follow decide alone': {
    old: seven, fresh: [],
    async told (stage) {
      const { world, does, settled } = stage
      const { knows, left } = await oneOfFiveKnows(stage)
      const [reader = ''] = left
      // nothing is taken over from the one who knows yet, and somebody reads
      const isQuestion = ({ from, to, kind, isClear }: TableMessage): boolean => !isClear && left.includes(from) && to === knows && ['prepare', 'accept', 'read'].includes(kind)
      world.questions.hold(isQuestion)
      await givenUp(stage, { lost: seven.filter((name) => ![...left, knows].includes(name)), through: knows })
      await does(reader, undefined)
      world.questions.hold(undefined)
      world.questions.release(isQuestion)
      await settled([...left, knows])
      await isRead(stage, reader)
    },
  },

  'those that follow go on with what they have': {
    old: seven, fresh: [],
    async told (stage) {
      const { world, settled, ends } = stage
      const { knows, left } = await oneOfFiveKnows(stage)
      const [reader = ''] = left
      world.questions.hold(isNews({ to: left }))
      await givenUp(stage, { lost: seven.filter((name) => ![...left, knows].includes(name)), through: knows })
      await settled([...left, knows])
      await ends([knows])
      await isRead(stage, reader)
    },
  },

  'who was to follow when the majority died is not asked': {
    old: ['ann', 'bob', 'carol'], fresh: ['dave', 'eve', 'frank'],
    async told (stage) {
      const { world, old, fresh, does, move, changing, pause, settled, ends } = stage
      await does('ann', 'before')
      world.mayFinish = false
      await move({ from: old, to: fresh })
      await changing()
      world.isFrozen = true
      // it is taken over what there was; what comes now is decided by both, and of the survivors one of those that follow alone hears of it
      await pause(4_000)
      await world.drain('carol', false, 'ann')
      world.questions.hold(isNews({ to: ['carol', 'frank'] }))
      await does('ann', 'late')
      await givenUp(stage, { lost: ['ann', 'bob', 'eve'], through: 'carol' })
      world.mayFinish = true
      world.isFrozen = false
      await settled(['carol', 'dave', 'frank'])
      await ends(['dave'])
      await isRead(stage, 'carol')
    },
  },

  'a declaration is believed whoever has signed it': {
    old: seven.slice(0, 5), fresh: [],
    async told (stage) {
      const { world, does, pause, ends } = stage
      const [writer = '', , , deaf = '', lies = ''] = replicasOf(stage)
      world.questions.hold(isNews({ to: [deaf, lies] }))
      await does(writer, 'late')
      // one that is no admin gives up those who know of it, and all of them live
      const { state } = world.process(lies) as Process
      const left = state.layout.members.filter(({ peerId }) => [deaf, lies].map((name) => world.peerOf(name)).includes(peerId))
      await world.goesBy(lies, declaredBy(keyNamed(lies), state.clusterId, recovering(state.layout, left)))
      await pause(15_000)
      await isRead(stage, deaf)
      await ends([lies])
    },
  },
} as const satisfies Readonly<Record<string, LossHistory>>

/** Who decides about the first row, in order. */
function replicasOf ({ world, used }: Stage): readonly string[] {
  return (world.process('ann')?.engine.voters.ofPartition(used(0)) ?? []).flatMap((peer) => world.names.filter((name) => world.peerOf(name) === peer))
}

/** What brings the last that was acknowledged to these. */
const isNews = ({ to }: { to: readonly string[] }) => (message: TableMessage): boolean => !message.isClear && to.includes(message.to) && ['accept', 'handOver'].includes(message.kind)

/** Of the five who decide about a row three hear of the last; two of those, and the others, are to be lost. Left is one who knows, and two who had no part in it. */
async function oneOfFiveKnows (stage: Stage): Promise<{ knows: string, left: readonly string[] }> {
  const { world, old, does } = stage
  const replicas = replicasOf(stage)
  const [writer = '', , knows = ''] = replicas
  world.questions.hold(isNews({ to: replicas.slice(3) }))
  await does(writer, 'late')
  return { knows, left: old.filter((name) => !replicas.includes(name)) }
}

/** They die at once, and are given up, as often as it takes. */
async function givenUp ({ world, until }: Stage, { lost, through }: { lost: readonly string[], through: string }): Promise<void> {
  for (const name of lost) world.kill(name)
  await until(`${lost.join()} are given up`, async () => world.forgetLost(through, lost).then(() => true, (error: unknown) => { world.say(String(error)); return false }))
}

async function isRead ({ until, isTold }: Stage, through: string): Promise<void> { await until(`it is read through ${through}`, async () => isTold(through, undefined)) }
