#!/usr/bin/env python3
"""Fails when the headers in include/ff lack a public function of F-Stack, or declare one that libfstack.so does not
have. The list below is F-Stack's: the functions of its ff_api.h, ff_epoll.h, ff_log.h and ff_config.h. Arguments: the
tree, the library."""
import os
import re
import subprocess
import sys

import tree

PUBLIC = """
ff_init ff_run ff_stop_run
ff_socket ff_bind ff_listen ff_accept ff_accept4 ff_connect ff_shutdown ff_close ff_getsockname ff_getpeername
ff_setsockopt ff_getsockopt ff_fcntl ff_ioctl ff_dup ff_dup2 ff_fdisused ff_getmaxfd
ff_read ff_readv ff_recv ff_recvfrom ff_recvmsg ff_write ff_writev ff_send ff_sendto ff_sendmsg
ff_select ff_poll ff_kqueue ff_kevent ff_kevent_do_each ff_epoll_create ff_epoll_ctl ff_epoll_wait
ff_gettimeofday ff_pthread_create ff_pthread_join
ff_zc_mbuf_get ff_zc_mbuf_write ff_zc_mbuf_read ff_zc_mbuf_segment ff_zc_send ff_zc_recv ff_zc_recv_free
ff_regist_packet_dispatcher ff_regist_packet_dispatcher_context ff_dpdk_raw_packet_send ff_regist_pcblddr_fun
ff_get_traffic ff_rss_self_queue_info ff_route_ctl ff_sysctl
ff_ioctl_freebsd ff_setsockopt_freebsd ff_getsockopt_freebsd ff_rtioctl ff_ngctl
ff_adapt_user_thread_add ff_adapt_user_thread_exit ff_switch_curthread ff_restore_curthread
ff_log_open_set ff_log_close ff_log_reset_stream ff_log_set_global_level ff_log_set_level ff_log ff_vlog
ff_load_config
""".split()
MICROTHREADS = """
mt_init_frame mt_set_stack_size mt_start_thread mt_active_thread mt_sleep mt_thread_wait mt_thread_wakeup_wait
mt_swap_thread mt_time_ms mt_set_msg_private mt_get_msg_private mt_connect mt_accept mt_read mt_recv mt_recvfrom
mt_write mt_send mt_sendto mt_wait_events mt_udpsendrcv mt_tcpsendrcv mt_exec_all_task
""".split()
VARIABLES = ["pcurthread", "ff_global_cfg", "dpdk_argc", "dpdk_argv", "FF_LOG_FILENAME_PREFIX"]


def declared(root):
    text = ""
    for path in tree.files(root, [os.path.join("include", "ff")]):
        with open(os.path.join(root, path)) as f:
            text += re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return set(re.findall(r"\b(ff_[a-z0-9_]+)\(", text))


def main():
    root, library = sys.argv[1], sys.argv[2]
    out = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", library], capture_output=True, text=True,
                         check=True).stdout
    defined = {line.split()[0] for line in out.splitlines()}
    names = declared(root)
    problems = [f"include/ff declares no {name}" for name in PUBLIC if name not in names]
    problems += [f"include/ff declares {name}, which is not in the list of tests/lint/fstack.py" for name in
                 sorted(names - set(PUBLIC))]
    problems += [f"libfstack.so has no {name}" for name in PUBLIC + VARIABLES if name not in defined]
    micro = {name for name in defined if name.startswith("_ZN15NS_MICRO_THREAD")}
    problems += [f"libfstack.so has no {name}" for name in MICROTHREADS if
                 not any(f"{len(name)}{name}E" in symbol for symbol in micro)]
    problems += [f"libfstack.so shows {name}, which is none of F-Stack's" for name in
                 sorted(defined - set(PUBLIC) - set(VARIABLES) - micro)]
    tree.report(problems, f"{len(PUBLIC)} functions of F-Stack")


main()
