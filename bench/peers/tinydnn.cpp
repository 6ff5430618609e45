// Measures one network under tiny-dnn and prints one line of JSON.
// usage: tinydnn lenet5|cifar BATCH SECONDS      (threads: OMP_NUM_THREADS)
#include "measure.h"

#include <tiny_dnn/tiny_dnn.h>

#include <omp.h>
#include <string>

using namespace tiny_dnn;
using namespace tiny_dnn::activation;

typedef network<sequential> Net;

static shape3d lenet5(Net &net) {
    net << convolutional_layer<relu>(32, 32, 5, 1, 6) << max_pooling_layer<identity>(28, 28, 6, 2)
        << convolutional_layer<relu>(14, 14, 5, 6, 16) << max_pooling_layer<identity>(10, 10, 16, 2)
        << fully_connected_layer<relu>(400, 120) << fully_connected_layer<relu>(120, 84)
        << fully_connected_layer<softmax>(84, 10);
    return shape3d(32, 32, 1);
}

static shape3d cifar(Net &net) {
    serial_size_t extent = 32, channels = 3;
    for (serial_size_t filters : {32, 64, 128}) {
        net << convolutional_layer<relu>(extent, extent, 3, channels, filters, padding::same)
            << convolutional_layer<relu>(extent, extent, 3, filters, filters, padding::same)
            << max_pooling_layer<identity>(extent, extent, filters, 2);
        extent /= 2;
        channels = filters;
    }
    net << fully_connected_layer<relu>(2048, 256) << fully_connected_layer<softmax>(256, 10);
    return shape3d(32, 32, 3);
}

static double forward_ms(Net &net, const std::vector<tensor_t> &input, double seconds) {
    std::vector<double> samples;
    double start = measure_seconds();
    do {
        net.predict(input);
    } while (measure_seconds() - start < seconds / 5);
    start = measure_seconds();
    while (samples.size() < MEASURE_MINIMUM_SAMPLES || measure_seconds() - start < seconds) {
        double before = measure_seconds();
        net.predict(input);
        samples.push_back(measure_seconds() - before);
    }
    return measure_median(samples.data(), static_cast<int>(samples.size())) * 1e3;
}

// `train` takes the number of steps in advance: a first call of two steps, which also sets
// everything up, tells how many fit into the time.
static double train_ms(Net &net, const std::vector<vec_t> &images,
                       const std::vector<label_t> &labels, double seconds) {
    momentum optimizer;
    optimizer.alpha = 0.001f;
    optimizer.lambda = 5e-4f;
    std::vector<double> samples;
    double before = 0;
    auto record = [&] {
        double now = measure_seconds();
        samples.push_back(now - before);
        before = now;
    };
    auto run = [&](int steps) {
        samples.clear();
        before = measure_seconds();
        net.train<cross_entropy_multiclass>(optimizer, images, labels, images.size(), steps, record,
                                            [] {});
    };
    run(2);
    run(std::max(MEASURE_MINIMUM_SAMPLES + 1, static_cast<int>(seconds / samples[1])));
    samples.erase(samples.begin()); // contains the setup
    return measure_median(samples.data(), static_cast<int>(samples.size())) * 1e3;
}

int main(int count, char **arguments) {
    std::string name = count == 4 ? arguments[1] : "";
    int batch = count == 4 ? std::atoi(arguments[2]) : 0;
    if ((name != "lenet5" && name != "cifar") || batch < 1) {
        std::fprintf(stderr, "usage: tinydnn lenet5|cifar BATCH SECONDS\n");
        return 2;
    }
    double seconds = std::atof(arguments[3]), loaded = measure_status_bytes("VmRSS");
    Net net;
    shape3d shape = name == "lenet5" ? lenet5(net) : cifar(net);
    std::vector<vec_t> images(batch, vec_t(shape.size()));
    std::vector<label_t> labels(batch);
    for (int n = 0; n < batch; n++) {
        for (auto &value : images[n]) {
            value = static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) * 2 - 1;
        }
        labels[n] = static_cast<label_t>(std::rand() % 10);
    }
    std::vector<tensor_t> input;
    for (const auto &image : images) {
        input.push_back(tensor_t{image});
    }
    double forward = forward_ms(net, input, seconds);
    double train = train_ms(net, images, labels, seconds);
    std::printf(
        "{\"threads\": %d, \"forward_ms\": %.6f, \"train_ms\": %.6f, \"peak_bytes\": %.0f}\n",
        omp_get_max_threads(), forward, train, measure_status_bytes("VmHWM") - loaded);
    return 0;
}
