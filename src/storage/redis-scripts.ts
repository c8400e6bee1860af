/**
 * Scripts in Lua that Redis runs for the store. Redis runs one script at a time. Therefore a commit is written
 * completely or not at all, and no other client writes between a check and the change that depends on it.
 *
 * All keys begin with the prefix in braces, by which a cluster keeps them on one node. KEYS[1] is `{prefix}:meta`; the
 * others are made from it. Names of clients are percent-encoded as in `keys.ts`, numbers have twelve hexadecimal
 * digits.
 *
 * | Key | What |
 * | --- | --- |
 * | `meta` | hash: format, life (the run that opened the store last), commit, epoch, queued and letter (the highest in use), server, index (the run that keeps `underway` complete; after it has released the lease, `#` and the last commit); and of a pair's lease: owner, version, lease (ms), until (ms since 1970), renewals, gave (why it was given back), last (how it came to the owner: epoch, ms since 1970, cause, the owner before) |
 * | `standby` | hash: run, name and version of the gateway of a pair that stood by last, and at (ms since 1970); it expires after the length of a lease |
 * | `meta` under the prefix of a fleet's members | hash: shards (their number); while a backup is restored: filling (the name of the restore), fillingAt (ms since 1970, its last sign of life) |
 * | `members` | of a fleet, under a prefix of their own: hash: name -> beats, at (ms since 1970), run, place, version, draining, by lines |
 * | `underway` | names, by the number of their publications under way to a broker. It is complete only if `index` of `meta` says so |
 * | `awake` | names of clients that were active; only an advice |
 * | `clients` | names that have a `c:` or `n:` (sorted by name) |
 * | `c:NAME` | hash: letter of the kind and number -> record; all kinds except those below |
 * | `b:NAME`, `n:NAME` | backlog: number -> octets (4) and record, and `octets`, their sum; the numbers, sorted |
 * | `due` | keys of queued messages, by the time when they expire |
 * | `known` | names, sorted |
 * | `letters`, `letters:n` | key -> record; keys by number |
 * | `secure`, `secure:n` | name -> record; names, sorted |
 */
import { createHash } from "node:crypto";

export interface Script {
  readonly text: string;
  /** The SHA-1 by which Redis identifies the script. */
  readonly digest: string;
}

function script(text: string): Script {
  return { text, digest: createHash("sha1").update(text).digest("hex") };
}

const begin = `
local meta = KEYS[1]
local base = string.sub(meta, 1, -5)
local call = redis.call
local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`;

/**
 * From now on this run keeps `underway`. Returns true if `underway` is complete. Another version of the gateway, which does not keep it,
 * may have written here; then the index is not that of the last run, and counting begins anew, so that no name stays that has no
 * records any more.
 */
const ofIndex = `
local function take(index, life, commit, run)
  local isComplete = index and index ~= '' and (index == life or index == '#' .. (commit or '0'))
  if not isComplete then
    call('DEL', base .. 'underway')
    isComplete = call('EXISTS', base .. 'clients') == 0
    if isComplete then call('DEL', base .. 'awake') end
  end
  if isComplete then call('HSET', meta, 'index', run) else call('HDEL', meta, 'index') end
  return isComplete
end
`;

/**
 * ARGV: name of this run, of the server, and the epoch of the pair's lease ('' = no pair). If a pair has the store, no other gateway opens
 * it while the lease runs, by the clock of the server. Of the pair, the gateway that has claimed the lease opens it.
 */
export const openScript = script(`${begin}${ofIndex}
local m = call('HMGET', meta, 'format', 'server', 'commit', 'epoch', 'queued', 'letter', 'life', 'until', 'owner', 'index')
if m[1] and m[1] ~= '1' then return {'later', m[1]} end
if ARGV[3] ~= '' then
  if m[7] ~= ARGV[1] or m[4] ~= ARGV[3] then return {'other'} end
else
  if (tonumber(m[8]) or 0) > now() then return {'held', m[9]} end
  call('HDEL', meta, 'until', 'owner', 'lease', 'renewals', 'version', 'gave', 'last')
end
if m[2] ~= ARGV[2] then call('DEL', base .. 'secure', base .. 'secure:n') end
local commit = string.format('%.0f', (tonumber(m[3]) or 0) + 1)
local isComplete = take(m[10], m[7], m[3], ARGV[1])
call('HSET', meta, 'format', '1', 'life', ARGV[1], 'server', ARGV[2], 'commit', commit)
return {'done', commit, m[4] or '0', m[5] or '0', m[6] or '0', isComplete and '1' or '0'}
`);

/**
 * Returns run, name of the owner, epoch, renewals, until when ('0' = given back, '' = there was none), length, version
 * of the owner, how the lease came to the owner ('' = not known), and the present time.
 */
export const lookScript = script(`${begin}
local m = call('HMGET', meta, 'life', 'owner', 'epoch', 'renewals', 'until', 'lease', 'version', 'last')
return {m[1] or '', m[2] or '', m[3] or '0', m[4] or '0', m[5] or '', m[6] or '0', m[7] or '', m[8] or '', string.format('%.0f', now())}
`);

/** As `lookScript`, for each of the KEYS. The keys may have several hash tags, which only a cluster would refuse. */
export const lookAllScript = script(`${begin}
local found = {}
for i, each in ipairs(KEYS) do
  local m = call('HMGET', each, 'life', 'owner', 'epoch', 'renewals', 'until', 'lease', 'version', 'last')
  found[i] = {m[1] or '', m[2] or '', m[3] or '0', m[4] or '0', m[5] or '', m[6] or '0', m[7] or '', m[8] or '', string.format('%.0f', now())}
end
return found
`);

/**
 * ARGV: name of this run, length of the lease in ms, and for each of the KEYS its epoch. Returns 1 for each lease that
 * this run still holds.
 */
export const renewAllScript = script(`${begin}
local found = {}
local ends = string.format('%.0f', now() + tonumber(ARGV[2]))
for i, each in ipairs(KEYS) do
  local m = call('HMGET', each, 'life', 'epoch')
  if m[1] == ARGV[1] and m[2] == ARGV[2 + i] then
    call('HINCRBY', each, 'renewals', 1)
    call('HSET', each, 'until', ends)
    found[i] = 1
  else found[i] = 0 end
end
return found
`);

/**
 * ARGV: name of this run, of the gateway, length of the lease in ms, how the lease was seen: run ('' = it was free) and renewals; version.
 * If the lease is free, or has not changed, this run gets it, and each commit of another run is refused from now on.
 */
export const claimScript = script(`${begin}${ofIndex}
local m = call('HMGET', meta, 'format', 'life', 'renewals', 'until', 'epoch', 'gave', 'owner', 'index', 'commit')
if m[1] and m[1] ~= '1' then return {'later', m[1]} end
local free = not m[4] or m[4] == '0'
if not free and (m[2] ~= ARGV[4] or (m[3] or '0') ~= ARGV[5]) then return {'held'} end
local epoch = string.format('%.0f', (tonumber(m[5]) or 0) + 1)
local ends = string.format('%.0f', now() + tonumber(ARGV[3]))
take(m[8], m[2], m[9], ARGV[1])
call('HSET', meta, 'format', '1', 'life', ARGV[1], 'owner', ARGV[2], 'lease', ARGV[3], 'epoch', epoch, 'renewals', '0', 'until', ends)
local cause = 'silent'
if not m[4] then cause = 'first' elseif free then cause = m[6] or 'ended' end
local last = string.format('%s %.0f %s %s', epoch, now(), cause, m[7] or '')
call('HSET', meta, 'version', ARGV[6], 'last', last)
if call('HGET', base .. 'standby', 'run') == ARGV[1] then call('DEL', base .. 'standby') end
return {'claimed', epoch, last}
`);

/**
 * ARGV: name of this run, epoch, length of the lease in ms. After the first word it returns: name and version of the
 * gateway that stands by, and the time since its last sign in ms.
 */
export const renewScript = script(`${begin}
local m = call('HMGET', meta, 'life', 'epoch')
if m[1] ~= ARGV[1] or m[2] ~= ARGV[2] then return {'other'} end
call('HINCRBY', meta, 'renewals', 1)
call('HSET', meta, 'until', string.format('%.0f', now() + tonumber(ARGV[3])))
local s = call('HMGET', base .. 'standby', 'name', 'version', 'at')
if not s[1] then return {'renewed'} end
return {'renewed', s[1], s[2], string.format('%.0f', now() - tonumber(s[3]))}
`);

/**
 * ARGV: name of this run, of the gateway, version, and for how many ms the record is valid (0 = the gateway does not
 * stand by any more).
 */
export const standScript = script(`${begin}
local key = base .. 'standby'
if ARGV[4] ~= '0' then
  call('HSET', key, 'run', ARGV[1], 'name', ARGV[2], 'version', ARGV[3], 'at', string.format('%.0f', now()))
  call('PEXPIRE', key, ARGV[4])
elseif call('HGET', key, 'run') == ARGV[1] then call('DEL', key) end
return {'done'}
`);

/**
 * ARGV: name, run, place and version of a member of a fleet, 1 if it hands over, for how many ms a silent member is
 * remembered, and the number of shards in its configuration. If this number is not that of the first member, the beat
 * is refused, and the answer has the first member's number. While a backup is restored, the beat is refused too.
 * Returns for each member: name, the stored beat, and the ms since that beat.
 */
export const beatScript = script(`${begin}
local shards = call('HGET', meta, 'shards')
if not shards then call('HSET', meta, 'shards', ARGV[7])
elseif shards ~= ARGV[7] then return {'shards', shards} end
if call('HEXISTS', meta, 'filling') == 1 then return {'filling'} end
local key = base .. 'members'
local old = call('HGET', key, ARGV[1])
local beats = (old and tonumber(string.match(old, '^(%d+)\\n')) or 0) + 1
local at = now()
local word = table.concat({string.format('%.0f', beats), string.format('%.0f', at), ARGV[2], ARGV[3], ARGV[4], ARGV[5]}, '\\n')
call('HSET', key, ARGV[1], word)
local all = call('HGETALL', key)
local found = {}
for i = 1, #all, 2 do
  local then_ = tonumber(string.match(all[i + 1], '^%d+\\n(%d+)\\n')) or 0
  if at - then_ > tonumber(ARGV[6]) then call('HDEL', key, all[i])
  else found[#found + 1] = {all[i], all[i + 1], string.format('%.0f', at - then_)} end
end
return found
`);

/**
 * Begins to restore a backup into the stores of a fleet. KEYS: `meta` of the members, and of each shard. ARGV: name of
 * this restore, number of shards, for how many ms after its last beat a member counts as running, and for how many ms
 * after its last sign a restore does. It begins if no member runs, no shard has a holder, and the stores are empty.
 * From then on, no beat is accepted until the restore has ended. `unfinished`: it begins, and the stores have only what
 * an earlier restore has left.
 */
export const fillBeginScript = script(`${begin}
local m = call('HMGET', meta, 'shards', 'filling', 'fillingAt')
if m[1] and m[1] ~= ARGV[2] then return {'shards', m[1]} end
local at = now()
if m[2] and at - tonumber(m[3]) < tonumber(ARGV[4]) then return {'filling', string.format('%.0f', at - tonumber(m[3]))} end
local all = call('HGETALL', base .. 'members')
for i = 1, #all, 2 do
  local heard = tonumber(string.match(all[i + 1], '^%d+\\n(%d+)\\n')) or 0
  if at - heard < tonumber(ARGV[3]) then return {'member', all[i]} end
end
for i = 2, #KEYS do
  local s = call('HMGET', KEYS[i], 'until', 'owner')
  if (tonumber(s[1]) or 0) > at then return {'held', tostring(i - 2), s[2] or ''} end
end
if not m[2] then
  for i = 2, #KEYS do
    local start = string.sub(KEYS[i], 1, -5)
    if call('EXISTS', start .. 'clients', start .. 'known', start .. 'letters') > 0 then return {'full', tostring(i - 2)} end
  end
end
call('HSET', meta, 'filling', ARGV[1], 'fillingAt', string.format('%.0f', at))
return {m[2] and 'unfinished' or 'begun'}
`);

/** KEYS[1]: `meta` of the members. ARGV: name of the restore. Records that the restore continues. */
export const fillGoOnScript = script(`${begin}
if call('HGET', meta, 'filling') ~= ARGV[1] then return {'other'} end
call('HSET', meta, 'fillingAt', string.format('%.0f', now()))
return {'done'}
`);

/**
 * KEYS[1]: `meta` of the members. ARGV: name of the restore, and number of shards ('' = nothing was restored). Ends the
 * restore.
 */
export const fillEndScript = script(`${begin}
if call('HGET', meta, 'filling') ~= ARGV[1] then return {'other'} end
call('HDEL', meta, 'filling', 'fillingAt')
if ARGV[2] ~= '' then call('HSET', meta, 'shards', ARGV[2]) end
return {'done'}
`);

/**
 * KEYS: `meta` of the members, and of a shard. ARGV: name of the restore. Removes what was restored into this shard.
 */
export const fillUndoScript = script(`${begin}
if call('HGET', meta, 'filling') ~= ARGV[1] then return {'other'} end
local start = string.sub(KEYS[2], 1, -5)
call('HSET', KEYS[2], 'life', '')
for _, name in ipairs(call('ZRANGE', start .. 'clients', 0, -1)) do
  call('DEL', start .. 'c:' .. name, start .. 'b:' .. name, start .. 'n:' .. name)
end
call('DEL', start .. 'clients', start .. 'due', start .. 'known', start .. 'letters', start .. 'letters:n', start .. 'underway', start .. 'awake')
return {'done'}
`);

/** ARGV: name and run of a member that ends. Removes its beat. */
export const leaveScript = script(`${begin}
local key = base .. 'members'
local old = call('HGET', key, ARGV[1])
if old and string.find(old, '\\n' .. ARGV[2] .. '\\n', 1, true) then call('HDEL', key, ARGV[1]) end
return {'done'}
`);

/**
 * ARGV: name of this run, epoch, and the cause: drained or ended. Gives the lease back; commits of this run are refused
 * from now on.
 */
export const releaseScript = script(`${begin}
local m = call('HMGET', meta, 'life', 'epoch', 'index', 'commit')
if m[1] ~= ARGV[1] or m[2] ~= ARGV[2] then return {'other'} end
if m[3] == ARGV[1] then call('HSET', meta, 'index', '#' .. (m[4] or '0')) end
call('HSET', meta, 'life', '', 'until', '0', 'gave', ARGV[3])
return {'released'}
`);

/**
 * ARGV: name of this run, last commit that was acknowledged, number of this one, lowest and highest epoch in it ('' =
 * none), highest numbers of a queued message and of a letter in it, then for each change: key, record ('' = it is
 * removed) and a number: when the message expires, or how many octets the record counts, or
 * 1 for the session of an active client.
 *
 * The stored number may be between the acknowledged one and this one, if the answer to a commit was lost. Then the same
 * changes are written again.
 */
export const commitScript = script(`${begin}
local m = call('HMGET', meta, 'commit', 'life', 'epoch', 'queued', 'letter')
local stored = tonumber(m[1]) or 0
if stored < tonumber(ARGV[2]) then return {'older', m[1] or '0'} end
if m[2] ~= ARGV[1] then return {'other'} end
if stored >= tonumber(ARGV[3]) then return {'overtaken'} end
if ARGV[4] ~= '' and tonumber(ARGV[4]) < (tonumber(m[3]) or 0) then return {'epoch', m[3]} end
call('HSET', meta, 'commit', ARGV[3])
if ARGV[5] ~= '' and tonumber(ARGV[5]) > (tonumber(m[3]) or 0) then call('HSET', meta, 'epoch', ARGV[5]) end
if tonumber(ARGV[6]) > (tonumber(m[4]) or 0) then call('HSET', meta, 'queued', ARGV[6]) end
if tonumber(ARGV[7]) > (tonumber(m[5]) or 0) then call('HSET', meta, 'letter', ARGV[7]) end
local touched = {}
for i = 8, #ARGV, 3 do
  local key, record, number = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local kind = string.sub(key, 1, 1)
  local slash = string.find(key, '/', 1, true)
  local name = string.sub(key, 2, (slash or 0) - 1)
  local id = slash and string.sub(key, slash + 1) or ''
  local goes = record == ''
  if kind == 'b' then
    local hash, numbers = base .. 'b:' .. name, base .. 'n:' .. name
    local before = call('HGET', hash, id)
    local change = before and -struct.unpack('>I4', before) or 0
    if goes then
      call('HDEL', hash, id)
      call('ZREM', numbers, id)
    else
      change = change + tonumber(number)
      call('HSET', hash, id, struct.pack('>I4', tonumber(number)) .. record)
      call('ZADD', numbers, 0, id)
    end
    if call('EXISTS', numbers) == 0 then call('DEL', hash)
    else call('HINCRBY', hash, 'octets', change) end
    touched[name] = true
  elseif kind == 'k' then
    if goes then call('ZREM', base .. 'known', name) else call('ZADD', base .. 'known', 0, name) end
  elseif kind == 'd' then
    if goes then
      call('HDEL', base .. 'letters', key)
      call('ZREM', base .. 'letters:n', key)
    else
      call('HSET', base .. 'letters', key, record)
      call('ZADD', base .. 'letters:n', tonumber(id, 16), key)
    end
  elseif kind == 'm' then
    if goes then
      call('HDEL', base .. 'secure', name)
      call('ZREM', base .. 'secure:n', name)
    else
      call('HSET', base .. 'secure', name, record)
      call('ZADD', base .. 'secure:n', 0, name)
    end
  else
    local hash = base .. 'c:' .. name
    local change = 0
    if goes then change = -call('HDEL', hash, kind .. id) else change = call('HSET', hash, kind .. id, record) end
    if kind == 'u' and change ~= 0 and tonumber(call('ZINCRBY', base .. 'underway', change, name)) <= 0 then
      call('ZREM', base .. 'underway', name)
    end
    if kind == 's' then
      if number == '1' then call('ZADD', base .. 'awake', 0, name) else call('ZREM', base .. 'awake', name) end
    end
    if kind == 'q' then
      if goes or number == '' then call('ZREM', base .. 'due', key) else call('ZADD', base .. 'due', number, key) end
    end
    touched[name] = true
  end
end
for name in pairs(touched) do
  if call('EXISTS', base .. 'c:' .. name, base .. 'n:' .. name) > 0 then call('ZADD', base .. 'clients', 0, name)
  else call('ZREM', base .. 'clients', name) end
end
return {'done'}
`);

/**
 * For all scripts that read: ARGV[1] is the last commit that was acknowledged. If the server has an older state, the
 * script reads nothing, so that the reader does not take it for complete.
 */
const beginRead = `${begin}
local stored = call('HGET', meta, 'commit')
if (tonumber(stored) or 0) < tonumber(ARGV[1]) then return {'older', stored or '0'} end
local function state(name)
  local numbers = base .. 'n:' .. name
  local first = call('ZRANGE', numbers, 0, 0)[1] or ''
  local last = call('ZRANGE', numbers, -1, -1)[1] or ''
  local octets = call('HGET', base .. 'b:' .. name, 'octets') or '0'
  return {name, call('ZCARD', numbers), first, last, octets, call('HGETALL', base .. 'c:' .. name)}
end
local found = {'done'}
`;

/** ARGV: acknowledged, name of the client. */
export const loadScript = script(`${beginRead}
found[2] = state(ARGV[2])
return found
`);

/**
 * ARGV: acknowledged, from ('-' = the first, '(NAME' = behind it), limit, and the name of this run if `underway` has to
 * be corrected for what is read ('' = it is complete).
 */
export const sessionsScript = script(`${beginRead}
local isOwn = ARGV[4] ~= '' and call('HGET', meta, 'life') == ARGV[4]
for i, name in ipairs(call('ZRANGEBYLEX', base .. 'clients', ARGV[2], '+', 'LIMIT', 0, ARGV[3])) do
  local of = state(name)
  found[i + 1] = of
  if isOwn then
    local count = 0
    for j = 1, #of[6], 2 do if string.sub(of[6][j], 1, 1) == 'u' then count = count + 1 end end
    if count > 0 then call('ZADD', base .. 'underway', count, name) else call('ZREM', base .. 'underway', name) end
  end
end
return found
`);

/** ARGV: name of this run. It has read all sessions, so `underway` is complete. */
export const indexedScript = script(`${begin}
if call('HGET', meta, 'life') == ARGV[1] then call('HSET', meta, 'index', ARGV[1]) end
return {'done'}
`);

/** ARGV: acknowledged, limit of clients that were active. Names. */
export const foremostScript = script(`${beginRead}
found[2] = call('ZRANGEBYLEX', base .. 'clients', '[%00', '(%01')
found[3] = call('ZRANGE', base .. 'underway', 0, -1)
found[4] = call('ZRANGE', base .. 'awake', 0, tonumber(ARGV[2]) - 1)
return found
`);

/** ARGV: acknowledged, end, limit. Key and time, in turn. */
export const dueScript = script(`${beginRead}
found[2] = call('ZRANGEBYSCORE', base .. 'due', '-inf', '(' .. ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
return found
`);

/** ARGV: acknowledged, from, limit. */
export const knownScript = script(`${beginRead}
found[2] = call('ZRANGEBYLEX', base .. 'known', ARGV[2], '+', 'LIMIT', 0, ARGV[3])
return found
`);

/** ARGV: acknowledged, after, limit. */
export const lettersScript = script(`${beginRead}
for _, key in ipairs(call('ZRANGEBYSCORE', base .. 'letters:n', '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])) do
  found[#found + 1] = {key, call('HGET', base .. 'letters', key) or ''}
end
return found
`);

/** ARGV: acknowledged, from, limit. */
export const secureScript = script(`${beginRead}
for _, name in ipairs(call('ZRANGEBYLEX', base .. 'secure:n', ARGV[2], '+', 'LIMIT', 0, ARGV[3])) do
  found[#found + 1] = {name, call('HGET', base .. 'secure', name) or ''}
end
return found
`);

/** ARGV: acknowledged, name of the client, from ('[' and a number), limit. */
export const backlogScript = script(`${beginRead}
for _, id in ipairs(call('ZRANGEBYLEX', base .. 'n:' .. ARGV[2], ARGV[3], '+', 'LIMIT', 0, ARGV[4])) do
  found[#found + 1] = {id, string.sub(call('HGET', base .. 'b:' .. ARGV[2], id) or '', 5)}
end
return found
`);
