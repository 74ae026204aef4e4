/* Logging as F-Stack offers it: levels and types of rte_log, a log file that config.ini names, or a stream of the
 * program's own. Lines are "text" as given; nothing is added. */
#pragma once

#include <stdarg.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Levels, the gravest first. 0 in config.ini means that no log file is made. */
#define FF_LOG_DISABLE 0U
#define FF_LOG_EMERG 1U
#define FF_LOG_ALERT 2U
#define FF_LOG_CRIT 3U
#define FF_LOG_ERR 4U
#define FF_LOG_WARNING 5U
#define FF_LOG_NOTICE 6U
#define FF_LOG_INFO 7U
#define FF_LOG_DEBUG 8U
#define FF_LOG_MAX FF_LOG_DEBUG

/* Types: who speaks. 24 to 29 are the program's. */
#define FF_LOGTYPE_EAL 0
#define FF_LOGTYPE_MALLOC 1
#define FF_LOGTYPE_RING 2
#define FF_LOGTYPE_MEMPOOL 3
#define FF_LOGTYPE_TIMER 4
#define FF_LOGTYPE_PMD 5
#define FF_LOGTYPE_HASH 6
#define FF_LOGTYPE_LPM 7
#define RTE_LOGTYPE_KNI 8
#define FF_LOGTYPE_ACL 9
#define FF_LOGTYPE_POWER 10
#define FF_LOGTYPE_METER 11
#define FF_LOGTYPE_SCHED 12
#define FF_LOGTYPE_PORT 13
#define FF_LOGTYPE_TABLE 14
#define FF_LOGTYPE_PIPELINE 15
#define FF_LOGTYPE_MBUF 16
#define FF_LOGTYPE_CRYPTODEV 17
#define FF_LOGTYPE_EFD 18
#define FF_LOGTYPE_EVENTDEV 19
#define FF_LOGTYPE_GSO 20
#define FF_LOGTYPE_USER1 24
#define FF_LOGTYPE_USER2 25
#define FF_LOGTYPE_USER3 26
#define FF_LOGTYPE_USER4 27
#define FF_LOGTYPE_USER5 28
#define FF_LOGTYPE_USER6 29
#define FF_LOGTYPE_USER7 30
#define FF_LOGTYPE_USER8 31
#define FF_LOGTYPE_FIRST_EXT_ID 32
#define FF_LOGTYPE_FSTACK_APP FF_LOGTYPE_USER1
#define FF_LOGTYPE_FSTACK_LIB FF_LOGTYPE_USER7
#define FF_LOGTYPE_FSTACK_FREEBSD FF_LOGTYPE_USER8

extern char FF_LOG_FILENAME_PREFIX[];

/* Opens the log file that config.ini names, if it names one; ff_init() does. 0 or -1. */
int ff_log_open_set(void);
/* Closes it; lines go to standard error then, unless the program has given a stream. */
void ff_log_close(void);
/* Lines go to this FILE*, which stays the program's. NULL: to standard error. 0. */
int ff_log_reset_stream(void* f);
/* Lines graver than or at `level` are written, if their type allows it too. */
void ff_log_set_global_level(uint32_t level);
/* Of one type; -1 if there is no such type. */
int ff_log_set_level(uint32_t logtype, uint32_t level);
/* Writes one line like printf(); what printf() returns, 0 for one that is held back, -1 for an unknown type. */
int ff_log(uint32_t level, uint32_t logtype, const char* format, ...);
int ff_vlog(uint32_t level, uint32_t logtype, const char* format, va_list ap);

#ifdef __cplusplus
}
#endif
