import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { InvalidInput } from '../../base/errors.ts'
import type { AnnounceReport, CollectReport, CompareReport, ConvertReport, DfsNode, RepairReport, ScrubFound, ScrubReport, VerifyEvent } from '../../node.ts'
import { untilStopped } from './calls.ts'
import { type AnnounceSchema, type CollectSchema, type CompareSchema, type ConvertSchema, JobAction, type JobSchema, type JobService, JobState, type RepairSchema, type ScrubFoundSchema, type ScrubSchema, VerifyProblem, type VerifyResponseSchema } from './generated/dfs/v1/job_pb.ts'
import { looks } from './looks.ts'
import { nameIn, numberIn } from './names.ts'
import type { RpcParts } from './service.ts'
import { comparable, whole, wholes } from './whole.ts'

const states = { busy: JobState.BUSY, idle: JobState.IDLE, paused: JobState.PAUSED } as const
const actions = { now: JobAction.NOW, pause: JobAction.PAUSE, resume: JobAction.RESUME } as const
const jobNames = ['repair', 'scrub', 'collect', 'convert', 'compare', 'announce'] as const
type Job = MessageInitShape<typeof JobSchema>

export function jobService ({ node, clock }: Pick<RpcParts, 'node' | 'clock'>): ServiceImpl<typeof JobService> {
  const jobs = async (): Promise<Job[]> => {
    const status = await node.status()
    return jobNames.flatMap((name) => status[name] === undefined ? [] : [jobOf(name, status[name])])
  }
  return {
    listJobs: async () => ({ jobs: await jobs() }),
    watchJobs: ({ everyMs }, context) => untilStopped(context, async function * (signal) {
      for await (const now of looks(everyMs, { clock, signal, look: jobs, sameness: comparable })) yield { jobs: now }
    }),
    async controlJob ({ name: wanted, action: number }) {
      const name = jobNames.find((job) => job === wanted)
      if (name === undefined) throw new InvalidInput('name', `there is no job "${wanted.slice(0, 80)}"; there are ${jobNames.join(', ')}`)
      const action = nameIn(actions, number, 'action')
      if (action === undefined) throw new InvalidInput('action', `what can be done about ${name} is an action: now, pause or resume`)
      return { job: jobOf(name, await node[name][action]()) }
    },
    getRepair: async () => ({ repair: repairOf(node.repair.status()) }),
    verify: ({ bucket, prefix, isDeep }, context) => untilStopped(context, async function * (signal) {
      if (prefix !== '' && bucket === '') throw new InvalidInput('prefix', 'a prefix is of keys in a bucket; say which')
      for await (const event of node.verify({ bucket: bucket === '' ? undefined : bucket, prefix: prefix === '' ? undefined : prefix, isDeep, signal })) yield { event: eventOf(event) }
    }),
    getCollect: async () => ({ collect: collectOf(node.collect.status()) }),
    getConvert: async (_, { signal }) => ({ convert: convertOf(await node.convert.status({ signal })) }),
    getCompare: async () => ({ compare: compareOf(node.compare.status()) }),
    getAnnounce: async () => ({ announce: announceOf(node.announce.status()) }),
    getScrub: async () => ({ scrub: scrubOf(node.scrub.status()) }),
  }
}

function jobOf (name: typeof jobNames[number], report: RepairReport | ScrubReport | CollectReport | ConvertReport | CompareReport | AnnounceReport): Job {
  const { state, phase, doneShare, etaMs, failure } = report
  const [doneBytes, totalBytes] = 'doneBytes' in report ? [whole(report.doneBytes), whole(report.totalBytes)] : []
  return { name, state: numberIn(states, state), phase, doneShare, doneBytes, totalBytes, failure, why: 'why' in report ? report.why : undefined, etaMs: etaMs === undefined ? undefined : whole(etaMs) }
}

function repairOf (report: RepairReport): MessageInitShape<typeof RepairSchema> {
  const { found, total, full } = report
  return { job: jobOf('repair', report), found: found === undefined ? undefined : foundByRepair(found), total: wholes(total), fullPeerIds: [...full] }
}

function foundByRepair ({ layoutVersion, isAtLeast, ...counts }: NonNullable<RepairReport['found']>): NonNullable<MessageInitShape<typeof RepairSchema>['found']> {
  return { layoutVersion, isAtLeast, ...wholes(counts) }
}

function scrubOf (report: ScrubReport): MessageInitShape<typeof ScrubSchema> {
  const { everyMs, found, last } = report
  return {
    job: jobOf('scrub', report), everyMs: whole(everyMs), found: foundByScrub(found),
    last: last === undefined ? undefined : { finished: timestampFromDate(new Date(last.finished)), tookMs: whole(last.tookMs), bytes: whole(last.bytes), found: foundByScrub(last.found) },
  }
}

function collectOf (report: CollectReport): MessageInitShape<typeof CollectSchema> {
  const { collectAfterMs, found, total, publishing } = report
  return {
    job: jobOf('collect', report), collectAfterMs: whole(collectAfterMs), found: found === undefined ? undefined : wholes({ ...found }), total: wholes(total),
    publishing: publishing === undefined ? undefined : { name: 'publish deaths', ...publishing },
  }
}

const compareOf = (report: CompareReport): MessageInitShape<typeof CompareSchema> => {
  const { donePartitions, totalPartitions, total } = report
  return { job: jobOf('compare', report), ...wholes({ donePartitions, totalPartitions }), total: wholes({ ...total }) }
}

const announceOf = (report: AnnounceReport): MessageInitShape<typeof AnnounceSchema> => ({ job: jobOf('announce', report), total: wholes({ ...report.total }) })

function convertOf (report: Awaited<ReturnType<DfsNode['convert']['status']>>): MessageInitShape<typeof ConvertSchema> {
  const { found, total, buckets, cluster: { isAtLeast, isDone, silent, paused, etaMs, ...counts } } = report
  return {
    job: jobOf('convert', report), total: wholes(total), buckets: [...buckets],
    found: found === undefined ? undefined : { isAtLeast: found.isAtLeast, ...wholes({ versions: found.versions, bytes: found.bytes }) },
    cluster: { isAtLeast, isDone, etaMs: etaMs === undefined ? undefined : whole(etaMs), silentPeerIds: [...silent], pausedPeerIds: [...paused], ...wholes(counts) },
  }
}

const foundByScrub = (found: ScrubFound): MessageInitShape<typeof ScrubFoundSchema> => wholes({ ...found })

const problems = { damaged: VerifyProblem.DAMAGED, unreadable: VerifyProblem.UNREADABLE, below: VerifyProblem.BELOW } as const

function eventOf (event: VerifyEvent): MessageInitShape<typeof VerifyResponseSchema>['event'] {
  switch (event.kind) {
    case 'object': return { case: 'object', value: { bucket: event.bucket, key: event.key, versionId: event.versionId, reason: event.reason, problem: numberIn(problems, event.problem) } }
    case 'total': return { case: 'total', value: { objects: whole(event.objects), bytes: whole(event.bytes) } }
    case 'progress':
    case 'done': {
      const { kind, ...counts } = event
      return { case: kind, value: wholes(counts) }
    }
  }
}
