import { describe, expect, test } from 'vitest'
import { settingFromAws } from '../../../src/api/s3/aws-json.ts'
import { type SettingsChange, objectStore } from '../../../src/objects/index.ts'
import { objectWorld } from '../../support/object-parts.ts'

const rule = { id: 'a', isEnabled: true, prefix: '', expireDays: 1 }

describe('settings that come as JSON', () => {
  test.each([
    ['a rule without its prefix', { lifecycle: [{ id: 'a', isEnabled: true, expireDays: 1 }] }, 'lifecycle[0] needs prefix'],
    ['a field that is misspelt', { lifecycle: [{ ...rule, expireDay: 1 }] }, 'lifecycle[0] has no "expireDay"'],
    ['a number in words', { lifecycle: [{ ...rule, expireDays: '1' }] }, 'lifecycle[0].expireDays takes a number, not "1"'],
    ['no list', { lifecycle: rule }, 'lifecycle takes a list'],
    ['a mode that is none', { objectLock: { defaultRetention: { mode: 'strict', days: 1 } }, versioning: 'enabled' }, 'objectLock.defaultRetention.mode takes governance, compliance'],
    ['a default that is none', { objectLock: { default: {} }, versioning: 'enabled' }, 'objectLock has no "default"'],
    ['a tag without its value', { tags: [['a']] }, 'tags[0] takes a name and a value'],
    ['a method that is none', { cors: [{ allowedOrigins: ['*'], allowedMethods: ['FETCH'] }] }, 'cors[0].allowedMethods[0] takes GET'],
    ['null for an object', { website: 'index.html' }, 'website takes an object'],
    ['a number for a date', { lifecycle: [{ id: 'a', isEnabled: true, prefix: '', expireDate: '365' }] }, '"365" is no date'],
    ['uploads of a size', { lifecycle: [{ id: 'a', isEnabled: true, prefix: '', minSizeBytes: 1, abortUploadsDays: 1 }] }, 'uploads have no size yet'],
    ['text for a flag', { publicRead: 'yes' }, 'publicRead takes true'],
  ])('are refused by their name: %s', async (_what, change, message) => {
    const objects = objectStore(objectWorld().parts)
    await objects.createBucket('photos')
    await expect(objects.setBucketSettings('photos', change as unknown as SettingsChange)).rejects.toThrow(message)
    expect((await objects.bucket('photos')).settings).toBeUndefined()
  })

  test('may have AWS\'s form, and then mean the same', () => {
    expect(settingFromAws('lifecycle', { Rules: [{ ID: 'a', Status: 'Enabled', Filter: { And: { Prefix: 'x/', Tags: [{ Key: 'k', Value: 'v' }] } }, Expiration: { Days: 3 }, NoncurrentVersionExpiration: { NoncurrentDays: 9, NewerNoncurrentVersions: 2 } }] }))
      .toEqual([{ id: 'a', isEnabled: true, prefix: 'x/', tags: [['k', 'v']], expireDays: 3, noncurrentDays: 9, noncurrentKept: 2 }])
    expect(settingFromAws('cors', { CORSRules: [{ AllowedOrigins: ['*'], AllowedMethods: ['GET'], MaxAgeSeconds: 9 }] })).toEqual([{ allowedOrigins: ['*'], allowedMethods: ['GET'], maxAgeSeconds: 9 }])
    expect(settingFromAws('objectLock', { ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled', Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 30 } } } })).toEqual({ defaultRetention: { mode: 'governance', days: 30 } })
    expect(settingFromAws('website', { IndexDocument: { Suffix: 'index.html' }, ErrorDocument: { Key: '404.html' } })).toEqual({ index: 'index.html', error: '404.html' })
    for (const Filter of ['logs/', ['logs/'], null, { Prefix: ['', 'logs/'] }]) expect(() => settingFromAws('lifecycle', { Rules: [{ Status: 'Enabled', Filter, Expiration: { Days: 1 } }] })).toThrow()
    expect(() => settingFromAws('objectLock', { ObjectLockEnabled: 'Enabled', DefaultRetention: { Mode: 'GOVERNANCE', Days: 30 } })).toThrow('DefaultRetention')
    expect(() => settingFromAws('lifecycle', { Rules: [{ Status: 'Enabled', Transitions: [{ Days: 1, StorageClass: 'GLACIER' }] }] })).toThrow()
  })

  test('in our own form are left as they are', () => {
    expect(settingFromAws('lifecycle', [rule])).toEqual([rule])
    expect(settingFromAws('objectLock', {})).toEqual({})
  })
})
