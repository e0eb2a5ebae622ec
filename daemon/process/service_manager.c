#include "process/service_manager.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define WATCHDOG_MIN_MS 1000

/* The results are not looked at: without a listening service manager there is nobody to tell. */

void service_manager_ready(const char *status)
{
        (void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void service_manager_reloading(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                         (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void service_manager_stopping(const char *status)
{
        (void)sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}

void service_manager_alive(void)
{
        (void)sd_notify(0, "WATCHDOG=1");
}

uint64_t service_manager_watchdog_ms(void)
{
        uint64_t interval_us;

        if (sd_watchdog_enabled(0, &interval_us) <= 0)
                return 0;
        uint64_t half_ms = interval_us / 2000;
        return half_ms < WATCHDOG_MIN_MS ? WATCHDOG_MIN_MS : half_ms;
}
