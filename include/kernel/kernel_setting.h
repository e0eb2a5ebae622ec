/* Settings of the kernel that are one digit (sysctl(8), proc(5)). The daemon reads them and changes none. */
#pragma once

#include "base/compiler.h"

#define KERNEL_SETTING_IPV4_FORWARDING "/proc/sys/net/ipv4/ip_forward"
#define KERNEL_SETTING_IPV6_FORWARDING "/proc/sys/net/ipv6/conf/all/forwarding"

/* The first digit of a setting; '0' also where there is no such setting, or none that can be read. */
char kernel_setting_read(const char *path);

/* Writes 0. Returns 0, also where there is no such setting, or -errno. */
MUST_CHECK int kernel_setting_switch_off(const char *path);
