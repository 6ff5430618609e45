// Measures inference of one ONNX file under ONNX Runtime and prints one line of JSON.
// usage: node onnxruntime.js MODEL.onnx INPUT BATCH THREADS SECONDS    (INPUT as 3x32x32)
// NODE_PATH must name the node_modules that holds onnxruntime-node.
'use strict';
const fs = require('fs');
const ort = require('onnxruntime-node');

const MINIMUM_SAMPLES = 3;

// A line of /proc/self/status in bytes: VmRSS (now) or VmHWM (the peak).
function statusBytes(field) {
    const status = fs.readFileSync('/proc/self/status', 'ascii');
    return Number(status.match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))[1]) * 1024;
}

function milliseconds() {
    return Number(process.hrtime.bigint()) / 1e6;
}

function median(samples) {
    const sorted = Float64Array.from(samples).sort();
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function medianMs(step, seconds) {
    let start = milliseconds();
    do {
        await step();
    } while (milliseconds() - start < seconds * 200);
    const samples = [];
    start = milliseconds();
    while (samples.length < MINIMUM_SAMPLES || milliseconds() - start < seconds * 1000) {
        const before = milliseconds();
        await step();
        samples.push(milliseconds() - before);
    }
    return median(samples);
}

async function main() {
    const [model, input, batch, threads, seconds] = process.argv.slice(2);
    const dims = [Number(batch), ...input.split('x').map(Number)];
    const values = new Float32Array(dims.reduce((a, b) => a * b));
    for (let i = 0; i < values.length; i++) {
        values[i] = Math.random() * 2 - 1;
    }
    const loaded = statusBytes('VmRSS');
    const session = await ort.InferenceSession.create(model, {
        executionProviders: ['cpu'],
        intraOpNumThreads: Number(threads),
        interOpNumThreads: 1,
        executionMode: 'sequential',
        graphOptimizationLevel: 'all',
    });
    const feeds = {input: new ort.Tensor('float32', values, dims)};
    const forwardMs = await medianMs(() => session.run(feeds), Number(seconds));
    console.log(JSON.stringify({
        version: require('onnxruntime-node/package.json').version,
        threads: Number(threads),
        forward_ms: forwardMs,
        peak_bytes: statusBytes('VmHWM') - loaded,
    }));
}

main().catch((error) => {
    console.error(String(error));
    process.exit(1);
});
