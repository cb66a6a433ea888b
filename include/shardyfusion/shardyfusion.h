/* shardyfusion.h: the whole stable interface, with a tour.
 *
 * A snapshot is a set of immutable shards plus one manifest that lists them; `_CURRENT` points at
 * the manifest.
 *
 *   build    shardy_writer_open, _put, _finish, _close                writer.h, record.h, rows.h
 *   read     shardy_reader_open, _get, _multi_get, _search, _refresh  reader.h, vector.h
 *   operate  shardy_history_list, shardy_rollback, shardy_verify      admin.h
 *   extend   stores and engines of your own                           sys/store.h, sys/engine.h
 *
 * Every fallible call returns a shardy_status and takes a shardy_error (may be NULL) last:
 * status.h. Options are structs with an _init function; NULL means the defaults. A const handle may
 * be used by any number of threads at once.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_SHARDYFUSION_H
#define SHARDYFUSION_SHARDYFUSION_H

#include <shardyfusion/admin.h>
#include <shardyfusion/base.h>
#include <shardyfusion/context.h>
#include <shardyfusion/key.h>
#include <shardyfusion/limits.h>
#include <shardyfusion/manifest.h>
#include <shardyfusion/manifest_store.h>
#include <shardyfusion/reader.h>
#include <shardyfusion/record.h>
#include <shardyfusion/rows.h>
#include <shardyfusion/sharding.h>
#include <shardyfusion/status.h>
#include <shardyfusion/vector.h>
#include <shardyfusion/writer.h>

#endif
