/* Measures one network under Debian's libdarknet and prints one line of JSON.
 * usage: darknet NETWORK.cfg SECONDS      (batch, extents and rates stand in the .cfg)
 * Debian builds the library without OpenMP: it runs on one thread. */
#include "measure.h"

#include <darknet.h>

static double median_ms(void (*step)(network *), network *net, double seconds) {
    double *samples = malloc(MEASURE_MAXIMUM_SAMPLES * sizeof *samples);
    int count = 0;
    if (!samples) {
        fprintf(stderr, "darknet: out of memory\n");
        exit(1);
    }
    double start = measure_seconds();
    do {
        step(net);
    } while (measure_seconds() - start < seconds / 5);
    start = measure_seconds();
    while (count < MEASURE_MAXIMUM_SAMPLES &&
           (count < MEASURE_MINIMUM_SAMPLES || measure_seconds() - start < seconds)) {
        double before = measure_seconds();
        step(net);
        samples[count++] = measure_seconds() - before;
    }
    double median = measure_median(samples, count);
    free(samples);
    return median * 1e3;
}

static void forward(network *net) {
    network_predict(net, net->input);
}

static void train(network *net) {
    train_network_datum(net);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: darknet NETWORK.cfg SECONDS\n");
        return 2;
    }
    double seconds = strtod(arguments[2], NULL), loaded = measure_status_bytes("VmRSS");
    network *net = parse_network_cfg(arguments[1]);
    for (int i = 0; i < net->inputs * net->batch; i++) {
        net->input[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    }
    for (int n = 0; n < net->batch; n++) {
        net->truth[n * net->truths + rand() % net->truths] = 1;
    }
    double forward_ms = median_ms(forward, net, seconds);
    double train_ms = median_ms(train, net, seconds);
    printf("{\"threads\": 1, \"forward_ms\": %.6f, \"train_ms\": %.6f, \"peak_bytes\": %.0f}\n",
           forward_ms, train_ms, measure_status_bytes("VmHWM") - loaded);
    return 0;
}
