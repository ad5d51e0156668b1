import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import type { Share } from '../../objects/index.ts'
import type { ShareSchema, ShareService } from './generated/dfs/v1/share_pb.ts'
import type { RpcParts } from './service.ts'
import { msIn } from './whole.ts'

export function shareService ({ node: { shares }, shareBase }: Pick<RpcParts, 'node' | 'shareBase'>): ServiceImpl<typeof ShareService> {
  return {
    async createShare ({ bucket, key, notAfter, isOnce, password }, { signal }) {
      const share = await shares.create({ bucket, key, notAfterMs: msIn('not_after', notAfter), isOnce, password }, { signal })
      const [origin, path] = [shareBase(), `/s/${share.id}#${share.secret}`]
      return { share: messageOf(share), secret: share.secret, path, url: origin === undefined ? undefined : `${origin}${path}` }
    },
    listShares: async (_, { signal }) => ({ shares: (await shares.list({ signal })).map(messageOf) }),
    async revokeShare ({ id }, { signal }) { await shares.revoke(id, { signal }); return {} },
  }
}

const timeOf = (ms: number | undefined): MessageInitShape<typeof ShareSchema>['created'] => ms === undefined ? undefined : timestampFromMs(ms)

const messageOf = ({ id, bucket, key, notAfterMs, isOnce, usedMs, hasPassword, createdMs }: Share): MessageInitShape<typeof ShareSchema> =>
  ({ id, bucket, key, isOnce, hasPassword, notAfter: timeOf(notAfterMs), used: timeOf(usedMs), created: timeOf(createdMs) })
