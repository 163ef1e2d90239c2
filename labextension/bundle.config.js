/**
 * Modules are numbered as they are met. The builder's own way takes the numbers from their paths,
 * and the bundle would depend on where the tree lies.
 */
module.exports = { optimization: { moduleIds: 'natural', chunkIds: 'natural' } };
