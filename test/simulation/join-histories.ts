import { setMember } from '../../src/node/membership/member-settings.ts'
import type { Stage } from './layout-histories.ts'
import type { LossHistory } from './loss-histories.ts'
import type { Process, TableMessage } from './world.ts'

/** What goes wrong without a rule of membership where nodes do not know each other, told step by step. Those that follow join as in the product; in the end each member lets in each. */
export const joinHistories = {
  'who joined while one was away, and changed its own row, is not asked of others': {
    old: ['ann', 'bob', 'carol'], fresh: ['dave', 'eve', 'frank'],
    async told (stage) {
      const { world, fresh } = stage
      world.isFrozen = true
      world.kill('carol')
      for (const name of fresh) {
        await joined(stage, name, 'ann')
        await setsItsZone(stage, name)
      }
      await world.start('carol')
      await allLetIn(stage, ['ann', 'bob', 'carol', ...fresh])
      world.isFrozen = false
    },
  },

  'of those who have joined while one was away they themselves are asked': {
    old: ['ann', 'bob', 'carol'], fresh: ['dave', 'eve', 'frank', 'grace'],
    async told (stage) {
      const { world, fresh, settled, settledWith } = stage
      world.kill('carol')
      for (const name of fresh) await joined(stage, name, 'ann')
      await settledWith(['ann', 'bob', ...fresh])
      // of seven who decide she knows three
      await world.start('carol')
      await allLetIn(stage, ['ann', 'bob', 'carol', ...fresh])
      await settled(['ann', 'bob', 'carol', ...fresh])
    },
  },

  'a row that a newcomer proposed is refused by those who have not met it': {
    old: ['ann', 'bob', 'carol', 'dave', 'eve'], fresh: ['frank'],
    async told (stage) {
      const { world, until, ends } = stage
      const unmet = ['dave', 'eve']
      world.isFrozen = true
      world.cut(unmet.flatMap((name) => [['frank', name], [name, 'frank']] as const))
      await joined(stage, 'frank', 'ann')
      await until('frank is let in by those who hear it', () => ['ann', 'bob', 'carol'].every((name) => world.isConnected('frank', name)))
      // what it says of itself is with those alone who know it, and of them one is left
      world.questions.hold(({ to, kind, isClear }) => isClear && unmet.includes(to) && ['prepare', 'accept', 'handOver'].includes(kind))
      await setsItsZone(stage, 'frank')
      await ends(['ann', 'bob', 'frank'])
      world.questions.hold(undefined)
      await tried(stage, 'frank is told to drain', async () => world.drain('frank', true, 'dave'))
      world.isFrozen = false
    },
  },

  'the era of an admin is believed of nobody but a majority that can be asked': {
    old: ['ann', 'bob', 'carol', 'dave', 'eve'], fresh: ['frank', 'grace', 'heidi', 'ivan'], admins: ['bob'],
    async told (stage) {
      const { world, fresh, settledWith } = stage
      const left = ['ann', 'bob', 'eve', ...fresh]
      world.kill('carol')
      await tried(stage, 'dave is put out', async () => world.remove('dave', 'bob'))
      for (const name of fresh) await joined(stage, name, 'bob')
      await settledWith(left)
      await world.start('carol')
      await allLetIn(stage, [...left, 'carol'])
      for (const name of [...left, 'carol']) if (world.belongs('dave', name)) world.violations.push(`dave was put out, and ${name} lets it in`)
    },
  },

  'a join that was cut off begins as another': {
    old: ['ann', 'bob', 'carol'], fresh: ['dave', 'eve', 'frank', 'grace'],
    async told (stage) {
      const { world, fresh } = stage
      // each is cut off after another step
      for (const [i, path] of ['keyring.joining', 'keyring', 'peers.json', 'cluster'].entries()) {
        const name = fresh[i] ?? ''
        const token = await world.invite('ann')
        world.afterJoinWrote = (by, wrote) => { if (by === name && wrote === path) world.kill(name) }
        await world.joinBy(name, token).catch((error: unknown) => { world.say(String(error)) })
        world.afterJoinWrote = () => {}
        await tried(stage, `${name} has joined`, async () => { if (!await world.isNode(name)) await world.joinBy(name, token) })
        await world.start(name)
      }
      await allLetIn(stage, ['ann', 'bob', 'carol', ...fresh])
    },
  },

  'an invite that its sponsor died over is used': {
    old: ['ann', 'bob', 'carol'], fresh: ['dave'],
    async told (stage) {
      const { world, until } = stage
      const token = await world.invite('ann')
      // its invite is used, and no row of it is written: what ann brings to others she brings once
      let proposed = 0
      const isAccept = ({ from, kind, isClear }: TableMessage): boolean => from === 'ann' && isClear && kind === 'accept'
      world.questions.hold((message) => isAccept(message) && ++proposed > 2)
      void world.joinBy('dave', token).catch((error: unknown) => { world.say(String(error)) })
      await until('ann is about to write its row', () => world.questions.count(isAccept) > 0)
      world.kill('ann')
      world.questions.hold(undefined)
      await stage.pause(1_000)
      await world.start('ann')
      await tried(stage, 'dave has joined', async () => world.joinBy('dave', token))
      await world.start('dave')
      await allLetIn(stage, ['ann', 'bob', 'carol', 'dave'])
    },
  },

  'who was put out and is back is taken for what it was': {
    old: ['ann', 'bob', 'carol', 'dave'], fresh: ['eve'],
    async told (stage) {
      const { world, until } = stage
      world.isFrozen = true
      await joined(stage, 'eve', 'ann')
      await allLetIn(stage, ['ann', 'bob', 'carol', 'dave', 'eve'])
      await until('eve is known', () => ['ann', 'bob', 'carol', 'dave'].every((name) => world.process(name)?.state.members.has(world.peerOf('eve')) === true))
      world.kill('carol')
      await tried(stage, 'eve is put out', async () => world.remove('eve', 'ann'))
      world.wipe('eve')
      await joined(stage, 'eve', 'bob', await world.invite('ann'))
      await world.start('carol')
      await allLetIn(stage, ['ann', 'bob', 'carol', 'dave', 'eve'])
      world.isFrozen = false
    },
  },
} as const satisfies Readonly<Record<string, LossHistory>>

/** As often as it takes. */
async function tried ({ world, until, pause }: Stage, what: string, act: () => Promise<unknown>): Promise<void> {
  await until(what, async () => {
    const isDone = await act().then(() => true, (error: unknown) => { world.say(`${what}: ${String(error)}`); return false })
    if (!isDone) await pause(3_000)
    return isDone
  })
}

/** By an invite of this one; and it runs. */
async function joined (stage: Stage, name: string, through: string, given?: string): Promise<void> {
  const { world } = stage
  let token = given
  await tried(stage, `${name} has joined`, async () => {
    token ??= await world.invite(through)
    await world.joinBy(name, token)
  })
  await world.start(name)
}

/** What it says of itself, it has proposed itself. */
async function setsItsZone (stage: Stage, name: string): Promise<void> {
  const { world } = stage
  const { state, engine, memberRows } = world.process(name) as Process
  await tried(stage, `${name} says where it stands`, async () => setMember({ state, registers: engine.registers, memberRows }, world.peerOf(name), { zone: `of-${name}` }))
}

/** Each by each: who could not be reached is dialled again within half a minute. */
async function allLetIn ({ world, pause }: Stage, names: readonly string[]): Promise<void> {
  const missing = (): readonly string[] => names.flatMap((a) => names.filter((b) => b > a && !world.isConnected(a, b)).map((b) => `${a} and ${b}`))
  for (const endMs = world.time.nowMs + 45_000; missing().length > 0 && world.time.nowMs < endMs;) await pause(200)
  if (missing().length > 0) world.violations.push(`they do not let each other in: ${missing().join('; ')}`)
}
