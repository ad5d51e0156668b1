import { utf8 } from '../../src/base/bytes.ts'
import { keyOf } from '../../src/base/peer-id.ts'
import { adminsOf, encodeEra, eraAfter } from '../../src/cluster/index.ts'
import { eraAddress } from '../../src/node/membership/eras.ts'
import { encodeEnvelope } from '../../src/tables/envelope.ts'
import { keyNamed } from '../support/cluster-identities.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import type { LossHistory } from './loss-histories.ts'
import type { Process, TableMessage } from './world.ts'

/** What goes wrong without a rule of eras, told step by step. Who an era leaves out is let in by nobody, and nobody else is kept out. */
export const eraHistories = {
  'an era is not on disk before it rules': {
    old: ['ann', 'bob', 'carol', 'dave'], fresh: [],
    async told ({ world, until, restart }) {
      // nobody leaves the layout: what counts is the era alone
      world.isFrozen = true
      await world.remove('dave', 'ann')
      await until('all have heard of it', () => ['ann', 'bob', 'carol'].every((name) => !world.belongs('dave', name)))
      await restart('bob', () => {})
      if (world.belongs('dave', 'bob')) world.violations.push('dave was put out, and bob lets it in again')
      world.isFrozen = false
    },
  },

  'nobody looks at the row of eras': {
    old: ['ann', 'bob', 'carol', 'dave', 'eve'], fresh: [],
    async told ({ world, until, pause, ends }) {
      world.isFrozen = true
      const isProposal = ({ from, kind, isClear }: TableMessage): boolean => from === 'ann' && isClear && kind === 'accept'
      world.questions.hold(isProposal)
      void world.remove('eve', 'ann').catch(() => {}) // its node dies meanwhile
      await until('an era is proposed', () => world.questions.count(isProposal) > 3)
      world.questions.release(isProposal)
      await pause(0.1)
      // chosen by those who take it, and nobody told
      await ends(['ann'])
      world.questions.hold(undefined)
      if (!world.belongs('eve', 'bob')) world.violations.push('bob has heard of it too soon: nothing is tried')
      await until('all know that eve is put out', () => ['bob', 'carol', 'dave'].every((name) => !world.belongs('eve', name)))
      world.isFrozen = false
    },
  },

  'a node is put out where the rest has no majority': {
    old: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'], fresh: [],
    async told ({ world, old, does, isTold, votersOf, until, ends }) {
      await does('ann', 'before')
      const replicas = votersOf(0)
      const [dead = '', deadToo = '', leaving = '', reads = ''] = replicas
      world.isFrozen = true
      await ends([dead, deadToo])
      // with it two of five would be left of those who decide about this row; of all who vote there are enough
      await world.remove(leaving, old.find((name) => !replicas.includes(name)) ?? '').then(() => { world.say(`${leaving} is put out`) }, (error: unknown) => { world.say(String(error)) })
      world.isFrozen = false
      await until('it is read', async () => isTold(reads, undefined))
    },
  },

  'who has lost rows is part of a majority of those who remain': {
    old: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'], fresh: [],
    async told ({ world, old, does, isTold, used, votersOf, until, ends }) {
      await does('ann', 'before')
      const replicas = votersOf(0)
      const [dead = '', forgets = '', leaving = '', reads = ''] = replicas
      world.isFrozen = true
      await ends([dead])
      world.rot(forgets, used(0))
      // four of five answer and three would remain, of whom two know of this row: it has it back from nobody then
      await world.remove(leaving, old.find((name) => !replicas.includes(name)) ?? '').then(() => { world.say(`${leaving} is put out`) }, (error: unknown) => { world.say(String(error)) })
      world.isFrozen = false
      await until('it is read', async () => isTold(reads, undefined))
    },
  },

  'who joins while an era begins is not looked for': {
    old: ['ann', 'bob', 'carol', 'dave'], fresh: ['eve'],
    async told ({ world, until, pause }) {
      world.isFrozen = true
      const isProposal = ({ from, kind, isClear }: TableMessage): boolean => from === 'ann' && isClear && kind === 'accept'
      world.questions.hold(isProposal)
      const removed = world.remove('dave', 'ann')
      await until('an era is proposed', () => world.questions.count(isProposal) > 2)
      await world.start('eve')
      await world.join('eve', 'bob')
      world.questions.hold(undefined)
      world.questions.release(isProposal)
      await removed
      await until('all have heard of it', () => ['ann', 'bob', 'carol'].every((name) => !world.belongs('dave', name)))
      await pause(5_000)
      for (const name of ['ann', 'bob', 'carol']) if (!world.belongs('eve', name)) world.violations.push(`eve was taken in, and ${name} does not let it in`)
      world.isFrozen = false
    },
  },

  'who joined while an era began is looked for once': {
    old: ['ann', 'bob', 'carol', 'dave'], fresh: ['eve'],
    async told ({ world, until, pause }) {
      world.isFrozen = true
      const isProposal = ({ from, kind, isClear }: TableMessage): boolean => from === 'ann' && isClear && kind === 'accept'
      const isLook = ({ from, kind }: TableMessage): boolean => from === 'ann' && kind === 'ballots'
      world.questions.hold(isProposal)
      const removed = world.remove('dave', 'ann')
      await until('an era is proposed', () => world.questions.count(isProposal) > 2)
      await world.start('eve')
      await world.join('eve', 'bob')
      // nobody tells ann who the members are, until it has given up
      world.questions.hold(isLook)
      world.questions.release(isProposal)
      await removed
      world.questions.hold(undefined)
      await until('ann has heard of it', () => !world.belongs('dave', 'ann'))
      if (world.belongs('eve', 'ann')) world.violations.push('it was found out too soon: nothing is tried')
      await pause(30_000)
      for (const name of ['ann', 'bob', 'carol']) if (!world.belongs('eve', name)) world.violations.push(`eve was taken in, and ${name} does not let it in`)
      world.isFrozen = false
    },
  },

  'late delivery is taken from whoever brings it': {
    old: ['ann', 'bob', 'carol', 'dave', 'eve'], fresh: [], storage: ['eve'],
    async told ({ world, does, settled, layoutOf, addressOf, votersOf }) {
      await does('ann', 'before')
      await world.remove('dave', 'ann')
      await settled(['ann', 'bob', 'carol', 'eve'])
      // who was put out still has the keys of then, and seals with them; who holds no rows brings that to those who do
      const { table, ...address } = addressOf(0)
      const rowKey = plainCodec.rowKeyOf({ table, ...address })
      const content = { revision: 9n, isTombstone: false, body: encodeEnvelope({ operations: [], value: utf8('.forged') }) }
      const record = plainCodec.encode({ table, rowKey, content, ballot: { counter: 100_000n, proposer: keyOf(world.peerOf('dave')) } })
      const { peers } = world.process('eve')?.engine ?? {}
      await Promise.all(votersOf(0).map(async (name) => peers?.ask(world.peerOf(name), { version: layoutOf('eve').version, kind: 'handOver', table, rowKey, record }, {}).then(({ kind }) => { world.say(`${name} says ${kind}`) }, (error: unknown) => { world.say(`${name} says ${String(error)}`) })))
      await does('bob', undefined)
    },
  },

  'an era follows whichever stands': {
    old: ['ann', 'bob', 'carol', 'dave', 'eve'], fresh: [], admins: ['dave'],
    async told ({ world, until, pause, ends }) {
      world.isFrozen = true
      const isProposal = ({ from, kind, isClear }: TableMessage): boolean => from === 'ann' && isClear && kind === 'accept'
      world.questions.hold(isProposal)
      void world.remove('dave', 'ann').catch(() => {}) // its node dies meanwhile
      await until('an era is proposed', () => world.questions.count(isProposal) > 3)
      world.questions.release(isProposal)
      await pause(0.1)
      // chosen, and nobody told: who is put out, and was an admin, is let in as before, and has an era of its own
      await ends(['ann'])
      world.questions.hold(undefined)
      if (!world.belongs('dave', 'bob')) world.violations.push('bob has heard of it too soon: nothing is tried')
      const { state, engine } = world.process('dave') as Process
      const listed = [...[...state.members.values()].map(({ certificate }) => certificate.member), ...adminsOf(state.era, state)]
      const signer = keyNamed('dave')
      const own = eraAfter(eraAfter(state.era, { signer, listed }), { signer, listed })
      await engine.registers.change(eraAddress, () => ({ kind: 'write', value: encodeEra(own), result: undefined })).then(() => { world.say('the era of dave is chosen') }, (error: unknown) => { world.say(`the era of dave: ${String(error)}`) })
      await until('all know that dave is put out', () => ['bob', 'carol', 'eve'].every((name) => !world.belongs('dave', name)))
      world.isFrozen = false
    },
  },
} as const satisfies Readonly<Record<string, LossHistory>>
