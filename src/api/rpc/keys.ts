import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { InvalidInput } from '../../base/errors.ts'
import type { AccessKey, AccessRight } from '../../objects/index.ts'
import { KeyAction, type KeyRight, type KeySchema, type KeyService } from './generated/dfs/v1/key_pb.ts'
import { nameIn, numberIn } from './names.ts'
import type { RpcParts } from './service.ts'
import { msIn } from './whole.ts'

const actionNames = { read: KeyAction.READ, write: KeyAction.WRITE, list: KeyAction.LIST, admin: KeyAction.ADMIN } as const

export function keyService ({ node: { keys } }: Pick<RpcParts, 'node'>): ServiceImpl<typeof KeyService> {
  return {
    async createKey ({ name, rights, notAfter }, { signal }) {
      const key = await keys.create({ name, rights: rights.map(rightOf), notAfterMs: msIn('not_after', notAfter) }, { signal })
      return { key: messageOf(key), secret: key.secret }
    },
    listKeys: async (_, { signal }) => ({ keys: (await keys.list({ signal })).map(messageOf) }),
    grantKey: async ({ id, rights }, { signal }) => ({ key: messageOf(await keys.grant(id, rights.map(rightOf), { signal })) }),
    async deleteKey ({ id }, { signal }) { await keys.remove(id, { signal }); return {} },
  }
}

const rightOf = ({ bucket, prefix, actions }: KeyRight): AccessRight => ({ bucket, prefix, actions: actions.map((action) => nameIn(actionNames, action, 'actions') ?? unsaid()) })

function unsaid (): never { throw new InvalidInput('actions', `a right has actions: ${Object.keys(actionNames).join(', ')}`) }

const messageOf = ({ id, name, rights, notAfterMs, createdMs }: AccessKey): MessageInitShape<typeof KeySchema> => ({
  id, name,
  rights: rights.map(({ bucket, prefix, actions }) => ({ bucket, prefix, actions: actions.map((action) => numberIn(actionNames, action)) })),
  notAfter: notAfterMs === undefined ? undefined : timestampFromMs(notAfterMs),
  created: timestampFromMs(createdMs),
})
