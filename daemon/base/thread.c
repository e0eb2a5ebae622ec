#include "base/thread.h"

#include <signal.h>

int thread_start(const char *name, void *(*run)(void *argument), void *argument, pthread_t *ret)
{
        sigset_t all;
        sigset_t before;
        pthread_t thread;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int error = pthread_create(&thread, NULL, run, argument);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error != 0)
                return -error;
        (void)pthread_setname_np(thread, name);
        *ret = thread;
        return 0;
}
